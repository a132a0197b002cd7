"""What a comparison says about strength, rows and terms of a penalty, in Chinese."""

from __future__ import annotations

from collections.abc import Mapping

from polytask._messages._forms import Template

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
