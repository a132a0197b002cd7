"""What only a report says, in Chinese."""

from __future__ import annotations

from collections.abc import Mapping

from polytask._messages._forms import Template

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
