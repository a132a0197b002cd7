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
    "headline.share": "共享有益",
    "headline.separate": "各任务应分开建模",
    "headline.pool": "各任务应合并建模",
    "headline.unclear": "尚不能断定共享是否有益",
    "headline.none": "尚无结论",
    "headline.perfect": "目标已没有可解释的变异",
    "verdict.perfect": (
        "目标已没有可解释的变异：每个模型对留出行的预测都没有误差，因此各模型不分优劣。是否有某个特征就是"
        "目标本身，或由目标计算而来？"
    ),
    "verdict": "{headline}：{detail}",
    "rival": "分开与合并两类模型中较好的一个",
    "detail.share": "与{rival}相比，{amount}。",
    "detail.loses": "与{rival}相比，共享更差，{amount}。",
    "detail.separate": (
        "与{rival}相比，共享没有明显差别，{amount}；而每个任务一个模型比全部任务共用一个模型好 "
        "{other}。"
    ),
    "detail.pool": (
        "与{rival}相比，共享没有明显差别，{amount}；而全部任务共用一个模型比每个任务一个模型好 "
        "{other}。"
    ),
    "detail.unclear": "与{rival}相比，{amount}，可能只是偶然。",
    "detail.none": "还没有可供判断的已完成划分。",
    "amount.more": "{metric} {value}",
    "amount.less": "{metric} {value}（正号表示误差更小）",
    # Tasks.
    "groups": "{gain}，{lose}。",
    "groups.open": "{gain}，{lose}，{unclear}{more}。",
    "groups.gain": Plural("n", "1 个任务受益", "{n} 个任务受益", "没有任务受益"),
    "groups.lose": Plural("n", "1 个受损", "{n} 个受损", "没有任务受损"),
    "groups.unclear": "{n} 个尚不能断定",
    "rows.more": "{n} 行",
    "groups.more": "（各再有约 {rows}即可断定）",
    "groups.more_one": "（再有约 {rows}即可断定）",
    "groups.more_some": "（其中 {n} 个各再有约 {rows}即可断定）",
    # What to do.
    "use": "请使用 {model}。",
    "use.luck": (
        "{model} 在留出数据上的均值更好，但这不参与选择：选择只在训练数据内部进行，"
        "因为在留出数据上众多模型中的第一名也有运气成分。"
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
    "action.collect": "{n} 个任务宜收集更多数据",
    "action.collect_rows": "{n} 个任务宜各再收集约 {rows}数据",
    "action.any": "{n} 个任务用哪种方式都看不出差别",
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
    "warn.quick": "只用了一次划分，仅供初步了解。行动之前请运行完整的比较。",
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
    "metric.d2.regression": "解释方差",
    "metric.d2.deviance": "解释偏差",
    "metric.d2.classification": "解释的不确定性",
    "metric.d2.mixed": "解释的方差与不确定性",
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
