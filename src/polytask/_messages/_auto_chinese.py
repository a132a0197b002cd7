"""What is said of an automatic choice, in Chinese."""

from __future__ import annotations

from collections.abc import Mapping

from polytask._messages._forms import Template

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
