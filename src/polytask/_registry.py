"""What can be saved: the decorator, and the fixed table of names that `load` resolves."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from polytask.exceptions import DataError

State = dict[str, Any]


@runtime_checkable
class Saveable(Protocol):
    """An object whose state is plain: JSON values, arrays, other saveable objects."""

    def to_state(self) -> State:
        """Return the state as a dictionary."""
        ...

    @classmethod
    def from_state(cls, state: State) -> Any:  # noqa: ANN401 - the class itself, which a Protocol cannot name
        """Rebuild the object from :meth:`to_state`."""
        ...


T = TypeVar("T", bound=type)

FORMATS: Mapping[str, str] = {
    "baseline.effect.centred": "polytask.baselines._pooled:Centred",
    "baseline.effect.columns": "polytask.baselines._pooled:TaskColumns",
    "baseline.effect.indicators": "polytask.baselines._pooled:TaskIndicators",
    "baseline.effect.none": "polytask.baselines._pooled:NoEffect",
    "baseline.feature_blocks": "polytask.baselines._missing_blocks:FeatureBlocks",
    "baseline.joint": "polytask.baselines._joint:Joint",
    "baseline.missing_blocks": "polytask.baselines._missing_blocks:MissingBlocks",
    "baseline.patterns": "polytask.baselines._missing_blocks:Patterns",
    "baseline.pooled": "polytask.baselines._pooled:Pooled",
    "baseline.single_task": "polytask.baselines._single:SingleTask",
    "baseline.tuned_logistic": "polytask.baselines._logistic:TunedLogistic",
    "baseline.tuned_means": "polytask.baselines._means:TunedMeans",
    "baseline.tuned_ridge": "polytask.baselines._ridge:TunedRidge",
    "bayes.candidate": "polytask.bayes.choose:Candidate",
    "bayes.class_posterior": "polytask.bayes.posterior:ClassPosterior",
    "bayes.evidence": "polytask.bayes.evidence:Evidence",
    "bayes.joint_learned": "polytask.bayes.correlated:JointLearned",
    "bayes.joint_rows": "polytask.bayes.correlated_rows:JointRows",
    "bayes.joint_tasks": "polytask.bayes.posterior:JointTasks",
    "bayes.learned": "polytask.bayes.normal:Learned",
    "bayes.model": "polytask.bayes.prior:Model",
    "bayes.moments": "polytask.bayes.blocks:Moments",
    "bayes.noise_pull": "polytask.bayes.correlated:NoisePull",
    "bayes.prior": "polytask.bayes.prior:Prior",
    "bayes.row_space": "polytask.bayes.blocks:RowSpace",
    "bayes.rows": "polytask.bayes.blocks:Rows",
    "bayes.structure.diagonal": "polytask.bayes.prior:Diagonal",
    "bayes.structure.full": "polytask.bayes.prior:Full",
    "bayes.structure.low_rank": "polytask.bayes.prior:LowRank",
    "bayes.structure.none": "polytask.bayes.prior:NoVariation",
    "bayes.structure.scalar": "polytask.bayes.prior:Scalar",
    "data.label_index": "polytask.data.labels:LabelIndex",
    "data.table_encoder": "polytask.data.encoder:TableEncoder",
    "deep.added_task": "polytask.deep.prediction:AddedTask",
    "deep.balancer.aligned": "polytask.deep.balancing.formulas:Aligned",
    "deep.balancer.cagrad": "polytask.deep.balancing.cones:CAGrad",
    "deep.balancer.dwa": "polytask.deep.balancing.learned:DWA",
    "deep.balancer.equal": "polytask.deep.balancing.formulas:Equal",
    "deep.balancer.famo": "polytask.deep.balancing.learned:FAMO",
    "deep.balancer.fixed": "polytask.deep.balancing.formulas:Fixed",
    "deep.balancer.geometric_mean": "polytask.deep.balancing.formulas:GeometricMean",
    "deep.balancer.gradnorm": "polytask.deep.balancing.learned:GradNorm",
    "deep.balancer.imtl_g": "polytask.deep.balancing.formulas:IMTLG",
    "deep.balancer.imtl_l": "polytask.deep.balancing.learned:IMTLL",
    "deep.balancer.mgda": "polytask.deep.balancing.cones:MGDA",
    "deep.balancer.nash": "polytask.deep.balancing.formulas:Nash",
    "deep.balancer.pcgrad": "polytask.deep.balancing.cones:PCGrad",
    "deep.balancer.random_weights": "polytask.deep.balancing.formulas:RandomWeights",
    "deep.balancer.stch": "polytask.deep.balancing.formulas:STCH",
    "deep.balancer.uncertainty": "polytask.deep.balancing.learned:Uncertainty",
    "deep.balancer.upgrad": "polytask.deep.balancing.cones:UPGrad",
    "deep.classifier": "polytask.deep.estimators:DeepMultiTaskClassifier",
    "deep.history": "polytask.deep.training.history:History",
    "deep.mlp": "polytask.deep.network:MLP",
    "deep.model": "polytask.deep.estimators:DeepMultiTaskModel",
    "deep.plan": "polytask.deep.network:Plan",
    "deep.regressor": "polytask.deep.estimators:DeepMultiTaskRegressor",
    "deep.recording.affinity": "polytask.deep.recording:TaskAffinity",
    "deep.recording.gradients": "polytask.deep.recording:GradientSimilarity",
    "deep.sampling.in_step": "polytask.deep.sampling:InStep",
    "deep.sampling.proportional": "polytask.deep.sampling:Proportional",
    "deep.sampling.temperature": "polytask.deep.sampling:Temperature",
    "deep.sampling.uniform": "polytask.deep.sampling:Uniform",
    "deep.sharing.cgc": "polytask.deep.sharing.experts:CGC",
    "deep.sharing.cross_stitch": "polytask.deep.sharing.trunks:CrossStitch",
    "deep.sharing.film": "polytask.deep.sharing.trunks:FiLM",
    "deep.sharing.hard": "polytask.deep.sharing.trunks:Hard",
    "deep.sharing.mmoe": "polytask.deep.sharing.experts:MMoE",
    "deep.sharing.ple": "polytask.deep.sharing.experts:PLE",
    "deep.sharing.soft": "polytask.deep.sharing.trunks:Soft",
    "deep.task_relation": "polytask.deep.recording:TaskRelation",
    "deep.tasks": "polytask.deep.prediction:DeepTasks",
    "deep.training_result": "polytask.deep.training.history:TrainingResult",
    "estimator.baseline": "polytask._estimator.scoring:Baseline",
    "estimator.data_card": "polytask._estimator.card:DataCard",
    "estimator.input_schema": "polytask._estimator.query:InputSchema",
    "linear.bayes_class_tasks": "polytask.linear._bayes_class_tasks:BayesClassTasks",
    "linear.bayes_classifier": "polytask.linear._bayes_classifier:BayesianMultiTaskClassifier",
    "linear.bayes_densities": "polytask.linear._bayes_evidence:Densities",
    "linear.bayes_regressor": "polytask.linear._bayes_regressor:BayesianMultiTaskRegressor",
    "linear.bayes_tasks": "polytask.linear._bayes_tasks:BayesTasks",
    "linear.classifier": "polytask.linear._classifier:MultiTaskClassifier",
    "linear.given_line": "polytask.linear._given_lines:GivenLine",
    "linear.model": "polytask.linear._model:MultiTaskModel",
    "linear.pull": "polytask.linear.pull:Pull",
    "linear.regressor": "polytask.linear._regressor:MultiTaskRegressor",
    "linear.tasks": "polytask.linear.prediction:LinearTasks",
    "loss.gamma": "polytask.losses.of_means:Gamma",
    "loss.huber": "polytask.losses.of_numbers:Huber",
    "loss.logistic": "polytask.losses.of_classes:Logistic",
    "loss.multinomial": "polytask.losses.of_classes:Multinomial",
    "loss.poisson": "polytask.losses.of_means:Poisson",
    "loss.quantile": "polytask.losses.of_numbers:Quantile",
    "loss.smoothed_labels": "polytask.deep.regularise.mixing:SmoothedLabels",
    "loss.square_root": "polytask.losses.of_numbers:SquareRoot",
    "loss.squared": "polytask.losses.of_numbers:Squared",
    "loss.squared_hinge": "polytask.losses.of_classes:SquaredHinge",
    "penalty.along_graph": "polytask.penalties.graphs:AlongGraph",
    "penalty.along_time": "polytask.penalties.couplings:AlongTime",
    "penalty.alternating_structure": ("polytask.penalties.spectral:AlternatingStructure"),
    "penalty.bounded.concave": "polytask.penalties.constraints:BoundedConcave",
    "penalty.bounded.convex": "polytask.penalties.constraints:BoundedConvex",
    "penalty.bounded.norm": "polytask.penalties.constraints:BoundedNorm",
    "penalty.bounded.ridge": "polytask.penalties.constraints:BoundedRidge",
    "penalty.capped_l21": "polytask.penalties.nonconvex:CappedL21",
    "penalty.clustered": "polytask.penalties.spectral:Clustered",
    "penalty.columns": "polytask.penalties.base:Columns",
    "penalty.coupling": "polytask.penalties.couplings:Coupling",
    "penalty.elastic_net": "polytask.penalties.rows:ElasticNet",
    "penalty.fused_tasks": "polytask.penalties.fused:FusedTasks",
    "penalty.graph": "polytask.penalties.graphs:Graph",
    "penalty.group_norm": "polytask.penalties.groups:GroupNorm",
    "penalty.l1": "polytask.penalties.rows:L1",
    "penalty.l1_inf": "polytask.penalties.row_groups:L1Inf",
    "penalty.l2": "polytask.penalties.rows:L2",
    "penalty.l21": "polytask.penalties.rows:L21",
    "penalty.latent_tasks": "polytask.penalties.latent:LatentTasks",
    "penalty.learned_covariance": "polytask.penalties.spectral:LearnedCovariance",
    "penalty.mcp": "polytask.penalties.nonconvex:MCP",
    "penalty.network_lasso": "polytask.penalties.graphs:NetworkLasso",
    "penalty.outlier_tasks": "polytask.penalties.groups:OutlierTasks",
    "penalty.parts": "polytask.penalties.parts:PlainParts",
    "penalty.parts.envelope": "polytask.penalties.parts:EnvelopeWhole",
    "penalty.parts.envelope_rows": "polytask.penalties.parts:EnvelopeRows",
    "penalty.parts.null": "polytask.penalties.parts:NullParts",
    "penalty.parts.rows": "polytask.penalties.parts:SharedRowParts",
    "penalty.reweighted": "polytask.penalties.nonconvex:ReweightedRows",
    "penalty.scad": "polytask.penalties.nonconvex:SCAD",
    "penalty.shifted.composed": "polytask.penalties.shifts:ShiftedComposed",
    "penalty.shifted.concave": "polytask.penalties.shifts:ShiftedConcave",
    "penalty.shifted.conjugate": "polytask.penalties.shifts:ShiftedConjugate",
    "penalty.shifted.norm": "polytask.penalties.shifts:ShiftedNorm",
    "penalty.shifted.proximable": "polytask.penalties.shifts:ShiftedProximable",
    "penalty.shifted.quadratic": "polytask.penalties.shifts:ShiftedQuadratic",
    "penalty.shifted.ridge": "polytask.penalties.shifts:ShiftedRidge",
    "penalty.shifted.rows": "polytask.penalties.shifts:ShiftedRows",
    "penalty.shifted.smooth": "polytask.penalties.shifts:ShiftedSmooth",
    "penalty.sparse_group": "polytask.penalties.rows:SparseGroup",
    "penalty.sum": "polytask.penalties.sums:PlainSum",
    "penalty.sum.null": "polytask.penalties.sums:NullSum",
    "penalty.sum.quadratic": "polytask.penalties.sums:QuadraticSum",
    "penalty.sum.smooth": "polytask.penalties.sums:SmoothSum",
    "penalty.toward_mean": "polytask.penalties.couplings:TowardMean",
    "penalty.trace_ball": "polytask.penalties.spectral:TraceBall",
    "penalty.trace_norm": "polytask.penalties.spectral:TraceNorm",
    "penalty.tree_group": "polytask.penalties.row_groups:TreeGroup",
    "penalty.weighted.concave": "polytask.penalties.weighted:WeightedConcave",
    "penalty.weighted.convex": "polytask.penalties.weighted:WeightedConvex",
    "penalty.weighted.norm": "polytask.penalties.weighted:WeightedNorm",
    "penalty.weighted.ridge": "polytask.penalties.weighted:WeightedRidge",
    "penalty.weighted.rows": "polytask.penalties.weighted:WeightedRows",
    "selection.auto_calibration": "polytask.selection.auto.calibration:Calibration",
    "selection.auto_classifier": "polytask.selection.auto.classifier:AutoMultiTaskClassifier",
    "selection.auto_regressor": "polytask.selection.auto.regressor:AutoMultiTaskRegressor",
    "selection.auto_row": "polytask.selection.auto.fitting:AutoRow",
    "selection.classifier": "polytask.selection._classifier:MultiTaskClassifierCV",
    "selection.classifier_ic": "polytask.selection._classifier_ic:MultiTaskClassifierIC",
    "selection.model": "polytask.selection._model:MultiTaskModelCV",
    "selection.model_ic": "polytask.selection._model_ic:MultiTaskModelIC",
    "selection.regressor": "polytask.selection._regressor:MultiTaskRegressorCV",
    "selection.regressor_ic": "polytask.selection._regressor_ic:MultiTaskRegressorIC",
    "selection.shared_base": "polytask.selection.shared_base:SharedBase",
    "solver.accelerated_gradient": "polytask.solvers.gradient:AcceleratedGradient",
    "solver.block_descent": "polytask.solvers.block_descent:BlockDescent",
    "solver.certificate": "polytask.solvers.base:Certificate",
    "solver.concomitant": "polytask.solvers.concomitant:Concomitant",
    "solver.extrapolated_gradient": "polytask.solvers.gradient:ExtrapolatedGradient",
    "solver.factored": "polytask.solvers.factored:Factored",
    "solver.group_descent": "polytask.solvers.group_descent:GroupDescent",
    "solver.newton": "polytask.solvers.newton:Newton",
    "solver.parts_gradient": "polytask.solvers.parts_gradient:PartsGradient",
    "solver.parts_splitting": "polytask.solvers.parts_splitting:PartsSplitting",
    "solver.proximal_newton": "polytask.solvers.proximal_newton:ProximalNewton",
    "solver.reweighted": "polytask.solvers.reweighted:Reweighted",
    "solver.separate_descent": "polytask.solvers.separate_descent:SeparateDescent",
    "solver.solution": "polytask.solvers.base:Solution",
    "solver.splitting": "polytask.solvers.splitting:Splitting",
    "split.grouped_rows": "polytask.data.splitters:GroupedRows",
    "split.leave_tasks_out": "polytask.data.splitters:LeaveTasksOut",
    "split.time_ordered": "polytask.data.splitters:TimeOrdered",
    "split.within_tasks": "polytask.data.splitters:WithinTasks",
    "transfer.adaptation": "polytask.transfer._report:Adaptation",
}

_names: dict[type, str] = {}
_outside: dict[str, type] = {}


def saveable(name: str) -> Callable[[T], T]:
    """Mark a class as saveable under the format name `name`.

    The class has ``to_state`` and ``from_state``, or is a dataclass whose fields are plain.

    Parameters
    ----------
    name : str
        The name written to files; it outlives renames and moves of the class.

    Returns
    -------
    callable
        The decorator; it returns the class unchanged.
    """

    def mark(cls: T) -> T:
        _names[cls] = name
        if not cls.__module__.startswith("polytask."):
            _outside[name] = cls
        return cls

    return mark


def fields_of(obj: Any) -> State:  # noqa: ANN401 - any dataclass
    """Return the fields of a dataclass by name."""
    return {field.name: getattr(obj, field.name) for field in dataclasses.fields(obj)}


def state_of(obj: Any) -> State:  # noqa: ANN401 - any saveable object
    """Return the state of a saveable object; that of a dataclass is its fields."""
    return obj.to_state() if isinstance(obj, Saveable) else fields_of(obj)


def rebuild(cls: type, state: State) -> Any:  # noqa: ANN401 - an object of the class
    """Build an object of a saveable class from its state."""
    return cls.from_state(state) if isinstance(cls, Saveable) else cls(**state)


def name_of(obj: object) -> str | None:
    """Return the format name of an object's class, None if it is not saveable."""
    return _names.get(type(obj))


def registered() -> dict[type, str]:
    """Return every class marked so far with its format name."""
    return dict(_names)


def resolve(name: str) -> type:
    """Return the class of a format name."""
    if name in _outside:
        return _outside[name]
    if name not in FORMATS:
        raise DataError(
            f"The file names an object {name!r} that this version of polytask does not know; "
            "a class from outside the package must be imported (registered with "
            "polytask's @saveable) before load."
        )
    module, _, attribute = FORMATS[name].partition(":")
    cls: type = getattr(importlib.import_module(module), attribute)
    return cls
