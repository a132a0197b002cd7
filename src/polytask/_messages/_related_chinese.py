"""What is said of the relatedness of tasks, in Chinese."""

from __future__ import annotations

from collections.abc import Mapping

from polytask._messages._forms import Plural, Template

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
