"""What a comparison says, in Chinese."""

from __future__ import annotations

from collections.abc import Mapping

from polytask._messages._forms import Plural, Template

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
