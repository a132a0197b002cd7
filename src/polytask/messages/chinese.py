"""What polytask says, in Chinese."""

from __future__ import annotations

from collections.abc import Mapping

from polytask.messages.forms import Plural, Template

CHINESE: Mapping[str, Template] = {
    # Numbers and lists.
    "number.missing": "无",
    "number.interval": "{mean}（{low} 至 {high}）",
    "number.alone": "{mean}（无区间）",
    "number.percent": "{value}%",
    "list.comma": "、",
    "list.semicolon": "；",
    "list.sentence": "",
    "list.more": "{names} 等，另有 {n} 个",
    # The verdict: a headline, what it rests on, and both in one sentence.
    "headline.share": "共享：各任务一起学习",
    "headline.separate": "分开：每个任务一个模型",
    "headline.pool": "合并：全部任务共用一个模型",
    "headline.no practical difference": "没有实际差别",
    "headline.inconclusive": "无法定论",
    "headline.none": "尚无结论",
    "headline.perfect": "目标已没有可解释的变异",
    "verdict": "{headline}。{detail}",
    "rival.both": "分开与合并两类模型中较好的一个",
    "rival.separate": "分开的模型",
    "rival.pooled": "合并的模型",
    "detail.share": "共享的模型优于{rival}：{amount}。",
    "detail.share_small": (
        "共享的模型优于{rival}：{amount}。收益可能小到没有实际意义：区间的下端低于界限 {margin}。"
    ),
    "detail.nothing": "与{rival}相比，共享没有带来有实际意义的改进：{amount}。",
    "detail.loses": "共享不如{rival}：{amount}。",
    "detail.separate": "每个任务一个模型比全部任务共用一个模型好 {other}。",
    "detail.pool": "全部任务共用一个模型比每个任务一个模型好 {other}。",
    "detail.pool_open": "共享能否优于{rival}尚无定论：{amount}。",
    "detail.no practical difference": ("共享的模型与{rival}相差不到界限 {margin}：{amount}。"),
    "detail.simplest": "用最简单的模型即可。",
    "detail.inconclusive": "与{rival}相比，这些数据不能确定共享是否有益：{amount}。",
    "detail.which_plain": "分开与合并的模型哪个更好尚无定论。",
    "detail.more": "若差异保持不变，再有{more}即可确定。",
    "detail.no_more": "若差异保持不变，十倍的数据也不能确定。",
    "detail.none": "还没有可供判断的已完成划分。",
    "detail.perfect": (
        "共享与不共享的最好模型对留出行的预测都没有误差。是否有某个特征就是目标本身，或由目标计算而来？"
    ),
    "amount.more": "{metric} {value}",
    "amount.less": "{metric} {value}（正号表示误差更小）",
    # How much more data.
    "more.rows": "约 {n} 行数据",
    "more.tasks": "约 {n} 个任务",
    "more.times": "约 {n} 个时间点的数据",
    "more.seconds": "约 {n} 秒的数据",
    "more.minutes": "约 {n} 分钟的数据",
    "more.hours": "约 {n} 小时的数据",
    "more.days": "约 {n} 天的数据",
    "more.weeks": "约 {n} 周的数据",
    "more.months": "约 {n} 个月的数据",
    "more.years": "约 {n} 年的数据",
    # Tasks.
    "groups": "逐个任务来看：{gain}，{lose}，{unclear}。",
    "groups.gain": Plural("n", "1 个受益", "{n} 个受益", "没有受益的"),
    "groups.lose": Plural("n", "1 个受损", "{n} 个受损", "没有受损的"),
    "groups.unclear": Plural("n", "1 个未定", "{n} 个未定", "没有未定的"),
    # What to do.
    "use": "请使用 {model}。",
    "use.what": "请使用 {model}：{what}。",
    "model_is.separate": "每个任务一个线性模型，惩罚强度各自在本任务的行上调节",
    "model_is.separate, one strength": "每个任务一个线性模型，共用一个惩罚强度",
    "model_is.pooled": "全部任务共用一个线性模型",
    "model_is.pooled + intercepts": "全部任务共用一个线性模型，每个任务有自己的截距",
    "model_is.pooled + category": "全部任务共用一个线性模型，任务作为一个特征",
    "model_is.learned prior": "每个任务一个线性模型，并按数据显示的程度拉向各任务的共同部分",
    "model_is.near the mean": "每个任务一个线性模型，并拉向全部任务的平均",
    "model_is.same features": "每个任务一个线性模型，全部使用同样的少数特征",
    "model_is.common subspace": "每个任务一个线性模型，都由同样的少数特征组合构成",
    "model_is.boosting per task": "每个任务一组梯度提升树",
    "model_is.boosting pooled": "全部任务共用一组梯度提升树，任务作为一个特征",
    "use.luck": (
        "{model} 在留出数据上得分最高，但选择是在训练数据内部做出的：在留出数据上从众多模型中"
        "选出的第一名看起来会比实际更好（选择偏差）。"
    ),
    "use.trees": "请使用 {model}：这一树模型优于{rival}，{amount}。",
    "use.deep": "请使用 {model}：这一神经网络优于{rival}，{amount}。",
    "rule.linear": "最好的线性模型",
    "rule.deep": "最好的神经网络",
    "trees.better": "树模型同样优于{rival}：{amount}。",
    "trees.worse": "树模型不如{rival}：{amount}。",
    "trees.no": "树模型并不明显优于{rival}：{amount}。",
    "deep.better": "神经网络同样优于{rival}：{amount}。",
    "deep.worse": "神经网络不如{rival}：{amount}。",
    "deep.no": "神经网络并不明显优于{rival}：{amount}。",
    "deep.sharing.above": (
        "神经网络因共享而更好：与每个任务一个网络和全部任务一个网络中较好的一个相比，{amount}。"
    ),
    "deep.sharing.below": (
        "神经网络因共享而更差：与每个任务一个网络和全部任务一个网络中较好的一个相比，{amount}。"
    ),
    "deep.sharing.open": (
        "与每个任务一个网络和全部任务一个网络中较好的一个相比，共享的神经网络没有明显差别：{amount}。"
    ),
    "action.share": "{n} 个任务宜共同学习",
    "action.separate": "{n} 个任务宜各自建模",
    "action.pool": "{n} 个任务宜用合并模型",
    "action.collect": "{n} 个任务宜各再收集{more}",
    "action.named": "{action}：{names}。",
    # Shrinkage and sharing.
    "two": "收缩（调节惩罚，仍是每个任务一个模型）带来 {shrinkage}；共享再增加 {sharing}。",
    "two.mostly": "因此收益来自收缩，而非共享。",
    # Warnings.
    "warn.dominance": (
        "一个任务占主导：{task} 占共享模型所受牵引的 {share}，因此共享模型主要跟随它。可以试试 "
        'task_weight="equal" 或 scale_targets="task"。'
    ),
    "stopped.time": "时间预算已用完。",
    "stopped.interrupt": "比较被中断。",
    "warn.incomplete": "尚未完成：{planned} 次划分中完成了 {done} 次，数字仍可能变化。",
    "warn.partial": "尚未完成：部分模型还没有结果，数字仍可能变化。",
    "warn.quick": "快速比较只有少数模型，其中一个共享；完整的比较会尝试全部模型。",
    "warn.nothing": (
        "没有模型对留出行的预测优于训练数据的均值：用这些特征和行数还得不到任何改进。"
    ),
    # Adaptation.
    "adapt.tasks": "已用 {rows}适应 {n} 个任务（{names}）。",
    "adapt.rows": "{n} 行数据",
    "adapt.weights": "源数据加权后与新数据分布相近，相当于 {n} 行。",
    "adapt.scores": "在留出的行上，{metric}：{scores}。",
    "adapt.score": "{name} {value}",
    "adapt.adapted": "适应后",
    "adapt.source": "仅用源模型",
    "adapt.target": "仅用新数据",
    "adapt.pooled": "合并",
    "adapt.untried": "这些行不足以尝试：{names}。",
    "adapt.use.shared": "没有带目标的行，因此用其他任务共有的部分预测。",
    "adapt.use.adapted": "采用适应后的模型。",
    "adapt.use.unjudged": "采用适应后的模型；行数太少，没有可留出的行来评判。",
    "adapt.use.close": "采用适应后的模型：更好者可能只是出于偶然。",
    "adapt.use.behind": (
        "按要求采用适应后的模型，但它更差，且超出噪声：若作为新领域来适应，会选用更好者。"
    ),
    "adapt.layers.stay": "各层保持不变：留出的行并不要求改变，差别未超出噪声。",
    "adapt.layers.change": "{n} 个任务有自己的层。",
    "adapt.use.source": "原模型对新数据的预测更好，且超出噪声，因此采用原模型。",
    "adapt.use.target": "仅用新数据预测得更好，且超出噪声，因此只用新数据。",
    "adapt.use.pooled": "新旧数据合并为一个模型更好，且超出噪声，因此采用合并模型。",
    # Metrics within a sentence.
    "metric.d2.regression": "R2",
    "metric.d2.deviance": "解释偏差",
    "metric.d2.classification": "解释的对数损失",
    "metric.d2.mixed": "解释的损失",
    "metric.r2": "R2",
    "metric.r2_within": "任务内 R2",
    "metric.mse": "均方误差",
    "metric.rmse": "均方根误差",
    "metric.mae": "平均绝对误差",
    "metric.deviance": "平均损失",
    "metric.accuracy": "准确率",
    "metric.majority": "多数类比例",
    "metric.auc": "ROC 曲线下面积",
    "metric.average_precision": "平均精确率",
    "metric.log_loss": "对数损失",
    "metric.brier": "Brier 分数",
    "metric.calibration": "校准误差",
}


REPORT_CHINESE: Mapping[str, Template] = {
    "page.lang": "zh-Hans",
    "page.title": "{headline}：polytask 比较报告",
    "page.skip": "跳到结论",
    "page.nav": "本页内容",
    "page.scroll": "{what}，可横向滚动",
    "page.caption": "{caption}。{note}",
    "page.sort": "按此列排序",
    "page.words": (
        "分开：每个任务一个模型。合并：全部任务共用一个模型。共享：每个任务一个模型，共同学习。"
    ),
    "count.tasks": "{n} 个任务",
    "count.rows": "{n} 行",
    "count.features": "{n} 个特征",
    "count.models": "{n} 个模型",
    "count.splits": "{n} 次划分",
    # Sections.
    "section.do": "怎么做",
    "section.why": "结论的依据",
    "section.models": "模型",
    "section.tasks": "各任务的收益",
    "section.size": "收益与任务行数",
    "section.two": "区分收缩与共享",
    "section.features": "任务之间共享了什么",
    "section.card": "数据与方法",
    "section.warnings": "说明",
    "section.repeat": "重新运行",
    "table.show": "以表格查看同样的数字",
    # Groups of tasks.
    "group.gain": "受益",
    "group.lose": "受损",
    "group.unclear": "未定",
    "group_of.gain": "受益",
    "group_of.lose": "受损",
    "group_of.unclear": "未定",
    "verb.share": "共享",
    "verb.separate": "分开",
    "verb.pool": "合并",
    "verb.collect": "收集更多数据",
    "verb.any": "与全部任务一致",
    "kind.separate": "分开",
    "kind.pooled": "合并",
    "kind.shared": "共享",
    "kind.other": "自带",
    "family.linear": "线性",
    "family.trees": "树",
    "family.deep": "神经网络",
    "family.reference": "参照",
    "family.user": "自带",
    # What the verdict rests on.
    "why.caption": "留出数据上的差异（{metric}）",
    "why.note": "零的右侧表示更好。线段为 95% 区间。",
    "why.sharing": "共享，与分开和合并中较好者相比",
    "why.pooling": "共用一个模型，与每个任务一个模型相比",
    "why.trees": "树模型，与结论所依据的模型相比",
    "why.networks": "神经网络，与结论所依据的模型相比",
    "why.networks_sharing": "神经网络之间的共享，与分开和合并中较好的一个相比",
    "column.difference": "差异",
    "column.gain": "收益",
    "column.low": "下限",
    "column.high": "上限",
    # Models.
    "models.note": (
        "所有模型都在相同的留出行上评分。线段为 95% 区间；相同行上的分数同升同降，因此线段重叠的"
        "模型也可能有差别。推荐的模型已标出。"
    ),
    "models.scores": "分数（{metric}）",
    "models.metrics": "其他指标（各次划分的平均）",
    "models.costs": "模型的代价",
    "models.note_of": "{model}：{note}",
    "left_out.unseen": "每个任务一个模型，无法预测未见过的任务",
    "left_out.one_estimator": "一个估计器不能既用于数值又用于类别",
    "left_out.pooled_kinds": "不同类型的目标无法合并",
    "left_out.learned_kinds": "学习先验只用于同一类型的目标",
    "left_out.learned_loss": "学习先验只用于平方损失和逻辑损失",
    "left_out.learned_wide": (
        "学习先验的耗时随特征数的立方增长：最多尝试 {most} 个特征，这里有 {features} 个"
    ),
    "left_out.boosting_sparse": "直方图提升不接受稀疏的 X",
    "left_out.boosting_rows": (
        "每个任务单独做提升大约需要每个任务 {least} 行，这里任务行数的中位数是 {rows}"
    ),
    "models.none": "没有运行任何模型。",
    "models.undefined": "{value}（{n} 个无定义）",
    "models.undefined_note": "无定义：单个任务上无法计算的分数（所有划分合计），不计入平均。",
    "column.model": "模型",
    "column.kind": "类型",
    "column.family": "构成",
    "column.score": "分数",
    "column.picked": "被规则选中的划分数",
    "column.fit_seconds": "每次拟合的 CPU 秒数",
    "column.predict_seconds": "每千次预测的秒数",
    "column.nonzero": "非零参数",
    "column.file_bytes": "文件大小",
    # Tasks.
    "tasks.none": "没有可供判断的任务。",
    "tasks.note": (
        "共享相对于不共享的收益（{metric}）。线段为 95% 区间。各收益向其平均值收缩，"
        "行数少的任务收缩更多。"
    ),
    "tasks.cut": "图中为 {n} 个收益中最大的 {half} 个和最小的 {half} 个。",
    "tasks.skipped": "中间另有 {n} 个任务",
    "tasks.caption": "各任务的收益（{metric}）",
    "tasks.chart": "各任务收益及其区间的图",
    "tasks.groups": "按能否断定划分的任务",
    "column.task": "任务",
    "column.rows": "行数",
    "column.raw": "收缩前的收益",
    "column.group": "分组",
    "column.action": "建议",
    "column.more_rows": "断定所需的更多行数",
    # Gain and size.
    "size.across": "任务的有标签行数",
    "size.upward": "收益（{metric}）",
    "size.desc": "每个任务一个点及其区间，数字与任务表相同。",
    "size.note": "小任务通常受益最多，区间也最宽。",
    # Shrinkage and sharing.
    "two.caption": "各种做法的分数（{metric}）",
    "two.note": "仅调节惩罚往往就能帮助小任务；共同学习在此之上的增益才是共享。",
    "two.rows.separate": "每个任务一个模型",
    "two.rows.joint": "共同学习",
    "two.none": "无惩罚",
    "two.tuned": "惩罚经调节",
    "two.gains": "收益（{metric}）",
    "two.shrinkage": "收缩：每个任务一个模型，惩罚经调节，与无惩罚相比",
    "two.sharing": "共享：共同学习，与每个任务一个模型相比，惩罚均经调节",
    # Coefficients.
    "features.note": (
        "用全部行拟合的 {model} 在等离散度特征上的系数。蓝色提高预测值，橙色降低预测值。"
        "整行同色的特征在所有任务中作用相同。"
    ),
    "features.cut": "图中为 {all_rows} 个特征中的 {rows} 个、{all_columns} 列中的 {columns} 列。",
    "features.chart": "系数图，纵向为特征，横向为任务",
    "features.caption": "等离散度特征上的系数",
    "column.feature": "特征",
    # Data and method.
    "card.caption": "比较了什么，如何比较",
    "card.rows": "行",
    "card.tasks": "任务",
    "card.features": "特征",
    "card.form": "数据形式",
    "card.problem": "问题",
    "card.metric": "结论所用指标",
    "card.splits": "划分",
    "card.rule": "规则",
    "card.margin": "界限：更小的差异没有实际意义",
    "card.weighted": "行权重",
    "card.seed": "随机种子",
    "card.seconds": "用时",
    "card.rows_per_task": "{n}；每个任务 {low} 至 {high}，中位数 {median}",
    "card.rows_equal": "{n}；每个任务 {each}",
    "card.n_splits": "{planned} 次中完成 {done} 次；{how}",
    "card.rule_text": (
        "在每个训练部分中，由内层划分选出最好的共享模型，以及分开与合并两类中最好的模型；"
        "两者在留出数据上的配对差异决定结论：95% 区间高于 0 则共享；"
        "90% 区间在界限之内则用较简单的模型。"
    ),
    "card.yes": "有",
    "card.no": "无",
    "card.time": "{value} 秒",
    "form.long": "每行一个观测，带有任务标签",
    "form.targets": "每个任务一列目标",
    "form.separate": "每个任务一张表",
    "problem.regression": "回归",
    "problem.classification": "分类",
    "problem.mixed": "回归与分类",
    "splits.within": "把每个任务的行分成若干份，每行留出一次",
    "splits.grouped": "整组留出",
    "splits.time": "以过去训练，以其后检验",
    "splits.unseen": "整个任务留出",
    "splits.given": "由用户给定",
    "means.d2": "{metric}：1 为完美，0 相当于训练数据的平均值",
    "means.d2.classification": "{metric}：1 为完美，0 相当于训练数据的类别比例",
    "means.more": "{metric}，越大越好",
    "means.less": "{metric}，越小越好",
    # The rest.
    "notes.none": "没有需要说明的事项。",
    "repeat.call": "调用",
    "repeat.lock": "种子、数据、版本与设置",
    "repeat.note": "供 polytask rerun 读取。",
    # Short names of metrics, for the heads of tables.
    "short.d2": "D2",
    "short.r2": "R2",
    "short.r2_within": "任务内 R2",
    "short.mse": "均方误差",
    "short.rmse": "均方根误差",
    "short.mae": "平均绝对误差",
    "short.deviance": "平均损失",
    "short.accuracy": "准确率",
    "short.majority": "多数类比例",
    "short.auc": "AUC",
    "short.average_precision": "平均精确率",
    "short.log_loss": "对数损失",
    "short.brier": "Brier 分数",
    "short.calibration": "校准误差",
}


EXTRA_CHINESE: Mapping[str, Template] = {
    "section.strength": "惩罚的强度",
    "section.learning": "收益与训练行数",
    "section.ablation": "惩罚中每一项的贡献",
    # Error and coefficients against strength.
    "strength.said": (
        "{model} 选择了 {penalty}，保留 {n} 个特征中的 {kept} 个。与最佳得分相差不超过一个标准误的"
        "最强惩罚的强度为 {strength}，保留 {fewer} 个。"
    ),
    "strength.same": (
        "{model} 选择了 {penalty}，保留 {n} 个特征中的 {kept} 个。没有更强的惩罚与最佳得分相差"
        "不超过一个标准误。"
    ),
    "strength.note": "取自第一次划分的训练部分中的搜索，左侧惩罚较强。灰带为上下各一个标准误。",
    "strength.loss": "留出损失（目标已缩放）",
    "strength.score": "留出得分 {score}",
    "strength.sizes": "各特征系数的大小",
    "strength.across": "惩罚强度，由强到弱",
    "strength.error_desc": "留出得分随强度变化的曲线，并标出强度。",
    "strength.sizes_desc": "每个特征一条随强度变化的线，并标出强度。",
    "strength.chosen": "选定",
    "strength.best": "最佳得分",
    "strength.chosen_best": "选定：最佳得分",
    "strength.chosen_one_se": "选定：一个标准误",
    "strength.one_se": "一个标准误",
    "strength.caption": "{model} 的路径",
    "column.strength": "强度",
    "column.standard_error": "标准误",
    "column.kept": "剩余特征",
    "column.rank": "秩",
    "column.mark": "",
    # What is left of the coefficients.
    "kept.caption": "第一次划分中各惩罚保留了什么",
    "kept.note": "非零的特征与系数所占的份额。仅当系数矩阵比其零元素所示更简单时才给出秩。",
    "kept.none": "无可选择",
    "column.penalty": "惩罚",
    "column.features": "保留的特征",
    "column.coefficients": "保留的系数",
    # Which choices mattered.
    "mattered.caption": "搜索中哪些选择重要：{model}",
    "mattered.note": (
        "从选定处起每次只改变一项，并重新选择强度；份额为留出得分沿该项的方差所占的份额。"
    ),
    "column.parameter": "选择",
    "column.share": "份额",
    "column.spread": "得分的离散程度",
    "column.tried": "尝试的取值数",
    "choice.strength": "强度",
    "choice.penalty": "惩罚",
    "choice.task_weight": "任务权重",
    "choice.intercept": "截距的种类",
    "choice.intercept_strength": "截距的收缩",
    # The learning curve.
    "learning.said": (
        "每个任务 {few} 行时，共享比分开的模型好 {few_separate}，比合并的模型好 {few_pooled}；"
        "{many} 行时分别为 {many_separate} 和 {many_pooled}。"
    ),
    "learning.said_pooled": (
        "每个任务 {few} 行时，共享比合并的模型好 {few_pooled}；{many} 行时为 {many_pooled}。"
    ),
    "learning.said_separate": (
        "每个任务 {few} 行时，共享比分开的模型好 {few_separate}；{many} 行时为 {many_separate}。"
    ),
    "learning.note": "选定的模型在每个任务的部分训练行上重新拟合；留出的行不变。",
    "learning.upward": "得分（{metric}）",
    "learning.across": "每个任务训练行数的中位数",
    "learning.desc": "分开、合并与共享模型的得分随每个任务行数的变化。",
    "learning.caption": "按每个任务的训练行数的得分与收益（{metric}）",
    "learning.shared": "共享",
    "learning.pooled": "合并",
    "learning.separate": "分开",
    "column.train_rows": "每个任务的行数",
    "column.separate": "分开",
    "column.pooled": "合并",
    "column.shared": "共享",
    "column.over_separate": "相对分开的收益",
    "column.over_pooled": "相对合并的收益",
    # Leaving out a term.
    "ablation.adds": "{term} 带来 {amount}。",
    "ablation.harms": "{model} 去掉 {term} 更好：{amount}。",
    "ablation.unclear": "尚不能断定 {term} 是否有贡献：{amount}。",
    "ablation.note": (
        "{model} 的惩罚，与去掉其中一项、并重新选择其余强度的同样搜索相比，划分相同。"
    ),
    "ablation.caption": "每一项的贡献（{metric}）",
    "ablation.term": "{term}，与去掉它的惩罚相比",
    # Unfinished work.
    "warn.extras": "尚未完成：结论之外的拟合还有缺失。基于 {done} 次划分的结论不变。",
}


RELATED_CHINESE: Mapping[str, Template] = {
    # The opening.
    "related.yes": "各任务相关（{p}）：{shares}。",
    "related.no": "无法证明各任务相关（{p}）。",
    "related.no_shares": "各任务相关（{p}）。",
    "related.nothing": "无法判断相关性：特征与目标都有变化的任务不足两个。",
    "related.model": "在这个模型中，{shares}。",
    "related.model_nothing": "无法判断相关性：系数不全为 0 的任务不足两个。",
    "related.gradients": (
        "训练中，两个任务的梯度的余弦平均为 {value}（相对于各任务自身梯度之间的余弦）。"
    ),
    "related.affinity": (
        "训练中，为一个任务走一步，对另一任务损失的作用平均为其自身一步的 {value} 倍。"
    ),
    "related.training_nothing": "无法判断相关性：所记录的批次中出现的任务不足两个。",
    "related.shares": (
        "特征的作用中，{common} 为所有任务共有，{clustered} 为任务组内共有，{own} 为各任务独有"
    ),
    "related.p": "p = {value}",
    "related.p_least": "p ≤ {value}",
    "related.effective": Plural(
        "n", "只有 1 个任务提供信息。", "有效任务数：{n} 个中的 {value} 个。"
    ),
    # What else.
    "related.aspects": "共同之处：{names}。",
    "related.aspect.direction": "作用的符号相同",
    "related.aspect.structure": "作用的方向相同，符号可正可负",
    "related.aspect.features": "起作用的特征相同",
    "related.pairs_most": "最相似：{pairs}。",
    "related.pairs_least": "最不相似：{pairs}。",
    "related.pair": "{first} 与 {second}（{value}）",
    "related.groups": "建议分为 {n} 组：{groups}。",
    "related.group": "（{names}）",
    "related.no_groups": "没有明显的分组。",
    "related.shared": "在各任务中大致相同：{names}。",
    "related.varying": "因任务而异：{names}。",
    "related.level": "各任务的水平（截距）是另一回事：目标方差的 {share} 来自任务均值之间的差别。",
    "related.silent": "{n} 个任务不提供信息：其各行在特征或目标上没有差别。",
    "related.silent_model": "{n} 个任务的系数全为 0。",
    "related.silent_training": "{n} 个任务没有出现在所记录的批次中。",
    "related.units": "系数按特征的原有单位比较：拟合模型时没有使用 standardize=True。",
    # The page.
    "related.title": "{headline}：polytask 的相关性分析",
    "related.headline.yes": "各任务相关",
    "related.headline.no": "各任务未必相关",
    "related.headline.nothing": "无法判断相关性",
    "related.headline.model": "这个模型的各任务共有什么",
    "related.headline.training": "各任务在训练中如何相处",
    "related.section.shares": "共有、组内共有与独有",
    "related.section.map": "哪些任务相似",
    "related.section.tasks": "任务",
    "related.section.features": "特征",
    "related.section.method": "判断的方法",
    "related.shares.common": "所有任务共有",
    "related.shares.clustered": "组内共有",
    "related.shares.own": "各任务独有",
    "related.shares.note": "在特征所解释的预测方差中所占的份额，已除去噪声。",
    "related.shares.note_model": "在系数平方和中所占的份额。",
    "related.map.note": (
        "各任务中特征作用的相关系数。蓝色为相似，橙色为相反。相邻的任务相似；树在平均距离的高度"
        "上把任务连在一起。噪声使行数少的任务的相关系数偏向 0。"
    ),
    "related.map.note_model": (
        "各任务系数的相关系数。蓝色为相似，橙色为相反。相邻的任务相似；树在平均距离的高度上把任务"
        "连在一起。"
    ),
    "related.map.note_gradients": (
        "训练中各任务梯度的平均余弦，相对于各任务自身梯度之间的余弦。蓝色为相似，橙色为相反。"
        "相邻的任务相似；树在平均距离的高度上把任务连在一起。梯度在批次之间只有噪声的任务与任何"
        "任务都不相似。"
    ),
    "related.map.note_affinity": (
        "为一个任务走的步子对另一任务损失的作用（双向），相对于各任务自身的步子。蓝色为互助，"
        "橙色为互损。相邻的任务相似；树在平均距离的高度上把任务连在一起。"
    ),
    "related.map.bins": (
        "{n} 个任务按相邻顺序分段：每格是两段之间的平均值。共 {cells} 段，以各段的第一个任务命名。"
    ),
    "related.map.cut": "共 {n} 个任务，图中是行数最多的 {k} 个。",
    "related.map.chart": "任务相关系数图，相邻的任务相似",
    "related.map.table": "任务对",
    "related.tasks.caption": "任务，与其他任务最接近的在前",
    "related.features.caption": "作用最大的特征",
    "related.features.note": (
        "特征离散程度相同、目标离散程度为 1 时的平均系数，及其在任务间的差别。"
    ),
    "related.features.note_model": "平均系数及其在任务间的差别，以模型的单位计。",
    "related.kind.shared": "共有",
    "related.kind.varying": "各异",
    "related.column.closeness": "平均相关系数",
    "related.column.nearest": "最相似的任务",
    "related.column.similarity": "相关系数",
    "related.column.group": "组",
    "related.column.first": "任务",
    "related.column.second": "与任务",
    "related.column.mean": "平均",
    "related.column.spread": "任务间的差别",
    "related.column.kind": "类别",
    "related.method.null": (
        "检验：如果每个任务各自产生自己的作用，且沿其特征的任何一个轴都不偏向某个符号，那么符号的"
        "每一种取法都与所见的一样可能。与 {n} 种随机取法比较；随机种子 {seed}。"
    ),
    "related.method.part": "{aspect}：{p}",
    "related.method.gradients": (
        "在训练网络时记录：各任务梯度之间的余弦，对所记录的各步取平均，再除以各任务自身的梯度在"
        "相邻批次之间的余弦（衰减校正，Spearman 1904）。"
    ),
    "related.method.affinity": (
        "在训练网络时记录：为一个任务在共享层上走一步后，另一任务的损失如何变化，对所记录的各步"
        "取平均。"
    ),
    "related.method.model": (
        "来自已拟合模型的系数；它们的共同之处可能源于惩罚或先验。任务究竟是否相关，要用数据检验。"
    ),
}


AUTO_CHINESE: Mapping[str, Template] = {
    "auto.best": "在 {n} 个候选模型中，{name} 预测最好：对未见过的行，它解释了损失的 {score}。",
    "auto.alone": "只使用 {name}：任何候选模型的组合都没有超出偶然的更好预测。",
    "auto.mixed": "使用一个组合，在不参与确定权重的折上解释了 {score}：{parts}。",
    "auto.part": "{name} {percent}%",
    "auto.part_small": "{name} 不到 1%",
    "auto.by_task": (
        "各任务有自己的权重，任务自己的行与平均任务的 {pull} 行相权衡：{n} 个任务中有 {leaning} 个"
        "比平均任务更偏向其他模型。"
    ),
    "auto.scaled": "概率在使用前经过缩放，这样对留出行的预测更好：{parts}。",
    "auto.bolder": "{name} 更大胆（优势比的 {boldness} 次方）",
    "auto.more_careful": "{name} 更谨慎（优势比的 {boldness} 次方）",
    "auto.kinds": "每一类中最好的：{parts}。",
    "auto.kind": "{kind}：{name}（{score}）",
    "auto.kind.separate": "单独",
    "auto.kind.pooled": "合并",
    "auto.kind.shared": "共享",
    "auto.kind.trees": "树",
    "auto.kind.deep": "神经网络",
    "auto.kind.other": "其他",
    "auto.missing": "有 {n} 个候选模型被略去或拟合失败；排行榜说明了原因。",
    "auto.unfitted": (
        "虽然用 {names} 对留出行的预测最好，但时间不够在全部行上拟合：只使用按时拟合完的模型，"
        "预测较差。"
    ),
    "auto.stopped": "时间不够试完所有候选模型。",
    "left_out.time": "时间不够",
    "left_out.forest_gaps": "联合森林需要没有缺失的目标矩阵",
    "left_out.forest_form": "仅对目标矩阵尝试森林",
    "left_out.forest_whole": "该目标矩阵没有缺失，由联合森林处理",
}
