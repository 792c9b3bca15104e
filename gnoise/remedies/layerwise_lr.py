"""Muon, sign and RMS steps in one optimizer, with learning rates that follow each layer's gradient noise (LANTON)."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from gnoise.errors import UserError
from gnoise.formulas import bias_corrected, ema, lr_multiplier, noise_adaptive_rate
from gnoise.remedies.geometry import STEEP, Geometry, as_matrix, dual_norm
from gnoise.remedies.lmo_step import Steppers, dense, lmo_step_
from gnoise.remedies.shards import as_dtensor

Group = dict[str, Any]

_MUON = ("weight_decay", "momentum", "nesterov", "ns_steps", "ns_coefficients", "adjust_lr_fn")
_ADAMW = ("lr", "weight_decay", "betas", "eps")
_SMALLEST = 1e-30


def lr_multipliers(noise: Sequence[float], *, reference: float | None = None) -> list[float]:
    r"""Return the learning-rate multipliers of layers that share a geometry.

    $\sqrt{\alpha_l / \max_k \alpha_k}$ with $\alpha_l = \alpha / \sqrt{\alpha^2 + H_l}$: the quietest layer keeps the
    rate, and no multiplier is below $(H_{\min}/H_l)^{1/4}$.

    Args:
        noise: $H_l$, squared dual norms.
        reference: α, a dual norm: infinity gives 1 for all, values far below the noise the fourth root above.
            ``None`` (this project's): α² is the median of the $H_l$, which needs no tuning and no unit.

    References:
        Hao et al. 2025 (LANTON), arXiv 2510.14009.
    """
    alpha = max(statistics.median(noise) ** 0.5, _SMALLEST) if reference is None else reference
    rates = [noise_adaptive_rate(value, alpha) for value in noise]
    return [lr_multiplier(rate, max(rates)) for rate in rates]


class LayerwiseLR(Optimizer):
    r"""Step each layer in its own geometry, at a rate that falls with the noise of its gradient.

    Momentum $B_t = \mu B_{t-1} + (1-\mu) G_t$, step $w \leftarrow w + \eta_l\,\mathrm{lmo}(B_t)$. Hidden matrices take
    ``torch.optim.Muon``'s own step, its ``adjust_lr_fn`` and bfloat16 iteration included; embeddings and head the
    sign; vectors $\sqrt{d} B/\|B\|$; groups with geometry ``adamw`` that of ``torch.optim.AdamW``, at a fixed rate.
    Every ``every`` steps the noise of each layer is measured in the dual norm of its geometry,
    $H_l \leftarrow \beta_2 H_l + (1-\beta_2)\|G_t - G_{t-1}\|_*^2$, and
    $\eta_l = \eta \sqrt{\alpha_l/\max_k \alpha_k}$ over the layers of one geometry.

    Differs from the paper, whose text was only in part at hand: $H$ is corrected for its zero start; it is measured
    every 32nd step, not always, because a nuclear norm costs as much as a step of Muon; α may follow the median
    noise; Muon's factor for the shape stands in place of $\sqrt{d_{out}/d_{in}}$. Weight decay follows the layer's
    rate. A layer not measured yet keeps η.

    All settings, $H_l$ and multipliers live in ``param_groups``, one group a layer (one a geometry for ``adamw``),
    so that schedulers, ``state_dict`` and copies work as with any torch optimizer. A gradient of ``None`` passes the
    layer over. A gradient that is not finite reaches momentum and weights, as in ``torch.optim``, but never $H_l$.

    Args:
        params: groups with a ``geometry`` each, as :func:`param_groups_for` makes them; a group's own settings win.
        lr: of hidden matrices.
        other_lr: of everything else; each entry moves by about this much a step.
        weight_decay: decoupled; vectors get none unless their group says so.
        momentum: μ.
        nesterov: look ahead as Muon usually does; the paper does not.
        ns_steps: Newton–Schulz steps of Muon.
        ns_coefficients: of its polynomial; Jordan's.
        adjust_lr_fn: of ``torch.optim.Muon``: a constant factor by shape.
        betas: of AdamW groups.
        eps: of AdamW groups.
        reference: α as in :func:`lr_multipliers`; infinity measures nothing and leaves plain Muon and company, bit
            for bit.
        noise_from: ``"consecutive"`` gradients, whose difference has twice the noise and the drift as well, or the
            two ``"halves"`` of a batch, told apart by :meth:`record_half`.
        noise_decay: β₂, a measurement.
        every: steps between measurements; 1 is the paper's.

    References:
        Hao et al. 2025 (LANTON), arXiv 2510.14009; Jordan et al. 2024, "Muon: An optimizer for hidden layers in
        neural networks".
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 0.02,
        other_lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = False,
        ns_steps: int = 5,
        ns_coefficients: tuple[float, float, float] = STEEP,
        adjust_lr_fn: str | None = None,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        reference: float | None = None,
        noise_from: Literal["consecutive", "halves"] = "consecutive",
        noise_decay: float = 0.9,
        every: int = 32,
    ) -> None:
        _check(lr=lr, other_lr=other_lr, reference=reference, noise_from=noise_from, every=every)
        settings = {"lr": lr, "other_lr": other_lr, "weight_decay": weight_decay, "momentum": momentum}
        settings |= {
            "nesterov": nesterov,
            "ns_steps": ns_steps,
            "ns_coefficients": ns_coefficients,
            "adjust_lr_fn": adjust_lr_fn,
            "betas": betas,
            "eps": eps,
        }
        settings |= {"reference": reference, "noise_from": noise_from, "noise_decay": noise_decay, "every": every}
        books = {"steps": 0, "halves": 0, "noise": 0.0, "measurements": 0, "noise_multiplier": 1.0}
        self._inner: dict[str, Optimizer] = {}
        super().__init__(params, settings | books)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # of a state saved before they could be set
            group.setdefault("ns_coefficients", STEEP)
        self._inner = {}

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters of one geometry, each as a group of its own.

        Raises:
            UserError: the group has no known ``geometry``, or one that its parameters cannot have.
        """
        for part in _split(param_group, self.defaults):
            super().add_param_group(part)
        self._inner = {}

    @torch._disable_dynamo  # traced, the buffers that it shares with torch's own optimizers would get lost
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; returns the loss of the closure, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._watch()
        self._step_muon(self._of(Geometry.SPECTRAL))
        for geometry in (Geometry.SIGN, Geometry.RMS):
            for nesterov in (False, True):
                groups = [group for group in self._of(geometry) if group["nesterov"] is nesterov]
                lmo_step_(self._columns(groups), geometry, nesterov=nesterov)
        self._step_adamw(self._of(Geometry.ADAMW))
        return loss

    def lr_multipliers(self) -> dict[str, float]:
        """Return what each layer's rate is multiplied by now, by name, or by number where names are unknown."""
        return {
            group.get("param_names", [str(number)])[0]: float(group["noise_multiplier"])
            for number, group in enumerate(self.param_groups)
            if group["geometry"] != Geometry.ADAMW
        }

    def adapt(self, *, reference: float | None = None) -> None:
        """Start to follow the noise, from the next step on, where ``reference`` was infinite so far.

        Args:
            reference: as in :func:`lr_multipliers`.
        """
        for group in self.param_groups:
            if group["reference"] == math.inf:
                group["reference"] = reference

    def followed(self) -> list[Tensor]:
        """Return the parameters whose rate can follow their noise: all but those stepped by AdamW."""
        return [x for group in self.param_groups if group["geometry"] != Geometry.ADAMW for x in group["params"]]

    @torch.no_grad()
    def record_half(self, *, scale: float = 1.0) -> None:
        r"""Note the gradient accumulated so far; call it after each half of the batch, before anything clips.

        The halves $h_1 + h_2 = G$ differ by the noise of $G$: $E\|h_1 - h_2\|^2 = E\|G - EG\|^2$ for the Euclidean
        norm, with no drift. With ``DistributedDataParallel`` both halves must be reduced (no ``no_sync``).

        Args:
            scale: what the loss was multiplied by, e.g. ``scaler.get_scale()``, before ``scaler.unscale_``.

        Raises:
            UserError: the optimizer measures consecutive gradients.
        """
        measured: list[tuple[Group, Tensor]] = []
        for group, parameter, grad in self._watched():
            if group["noise_from"] != "halves":
                raise UserError(
                    "expected an optimizer that compares halves, got one that compares consecutive gradients; "
                    "try LayerwiseLR(..., noise_from='halves')"
                )
            group["halves"] += 1
            if group["steps"] % group["every"]:
                continue
            if group["halves"] == 1:
                self.state[parameter]["earlier_grad"] = grad.clone()
            elif "earlier_grad" in self.state[parameter]:
                first = self.state[parameter].pop("earlier_grad")
                measured.append((group, _dual_norm(2.0 * first - grad, group) / scale))
        self._learn(measured)

    def _watch(self) -> None:
        measured: list[tuple[Group, Tensor]] = []
        for group, parameter, grad in self._watched():
            phase = group["steps"] % group["every"]
            group["steps"] += 1
            if group["noise_from"] == "halves":
                _check_halves(group)
                continue
            state = self.state[parameter]
            earlier = state.pop("earlier_grad", None)
            if earlier is not None:
                measured.append((group, _dual_norm(grad - earlier, group)))
            if phase == 0:
                state["earlier_grad"] = grad.clone()
        self._learn(measured)

    def _watched(self) -> list[tuple[Group, Tensor, Tensor]]:
        """Return layers with a rate of their own and a gradient."""
        return [
            (group, parameter, dense(parameter.grad))
            for group in self.param_groups
            if group["geometry"] != Geometry.ADAMW and group["reference"] != math.inf
            for parameter in group["params"]
            if parameter.grad is not None
        ]

    def _learn(self, measured: Sequence[tuple[Group, Tensor]]) -> None:
        if not measured:
            return
        # The one wait for the device, every few dozen steps.
        sizes = torch.stack([size.to(measured[0][1].device, torch.float32) for _, size in measured]).tolist()
        for (group, _), size in zip(measured, sizes, strict=True):
            if math.isfinite(size):
                group["noise"] = ema(group["noise"], size**2, group["noise_decay"])
                group["measurements"] += 1
        families: dict[tuple[str, float | None], list[Group]] = {}
        for group in self.param_groups:
            if group["measurements"]:
                families.setdefault((group["geometry"], group["reference"]), []).append(group)
        for (_, reference), family in families.items():
            noise = [bias_corrected(g["noise"], g["noise_decay"], g["measurements"]) for g in family]
            for group, multiplier in zip(family, lr_multipliers(noise, reference=reference), strict=True):
                group["noise_multiplier"] = multiplier

    def _of(self, geometry: Geometry) -> list[Group]:
        return [group for group in self.param_groups if group["geometry"] == geometry]

    def _columns(self, groups: Sequence[Group]) -> Steppers:
        columns = Steppers()
        for group in groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                columns.params.append(parameter)
                columns.grads.append(dense(parameter.grad))
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter.grad)
                columns.momenta.append(state["momentum_buffer"])
                columns.rates.append(float(group["lr"]) * group["noise_multiplier"])
                columns.decays.append(group["weight_decay"])
                columns.momentum.append(group["momentum"])
        return columns

    def _step_muon(self, groups: Sequence[Group]) -> None:
        if not groups:
            return
        if "muon" not in self._inner:
            own = [{"params": [_matrix(p) for p in group["params"]]} for group in groups]
            self._inner["muon"] = torch.optim.Muon(own)
        muon = self._inner["muon"]
        muon.state.clear()
        for group, inner in zip(groups, muon.param_groups, strict=True):
            inner.update({key: group[key] for key in _MUON}, lr=group["lr"] * group["noise_multiplier"])
            # Views are made anew each step: a parameter's storage may have moved.
            inner["params"] = [_matrix(parameter) for parameter in group["params"]]
            for matrix, parameter in zip(inner["params"], group["params"], strict=True):
                muon.state[matrix] = self.state[parameter]
        muon.step()

    def _step_adamw(self, groups: Sequence[Group]) -> None:
        if not groups:
            return
        if "adamw" not in self._inner:
            self._inner["adamw"] = torch.optim.AdamW([{"params": group["params"]} for group in groups])
            self._inner["adamw"].state = self.state
        for group, inner in zip(groups, self._inner["adamw"].param_groups, strict=True):
            inner.update({key: group[key] for key in _ADAMW})
        self._inner["adamw"].step()


def _split(group: Group, defaults: Group) -> list[Group]:
    known = [str(geometry) for geometry in Geometry]
    geometry = str(group.get("geometry"))
    if geometry not in known:
        raise UserError(
            f"expected a geometry among {', '.join(known)} in each parameter group, got {group.get('geometry')!r}; "
            "try LayerwiseLR(param_groups_for(model))"
        )
    given = group["params"]
    params = [given] if isinstance(given, Tensor) else list(given)
    if geometry != Geometry.ADAMW:
        parts = [[x] for x in params]
    else:
        parts = [[x for x in params if _tensor(x).ndim >= 2], [x for x in params if _tensor(x).ndim < 2]]
    made: list[Group] = []
    for part in parts:
        if not part:
            continue
        tensor = _tensor(part[0])
        if geometry == Geometry.SPECTRAL and tensor.ndim < 2:
            raise UserError(
                f"expected matrices in a spectral group, got shape {tuple(tensor.shape)}; try geometry 'rms' for it"
            )
        if geometry == Geometry.SPECTRAL:
            _check_shards(tensor)
        own: Group = {"lr": defaults["lr" if geometry == Geometry.SPECTRAL else "other_lr"]}
        own["weight_decay"] = defaults["weight_decay"] if tensor.ndim >= 2 else 0.0
        made.append(own | group | {"params": part, "geometry": geometry})
    return made


def _check_shards(matrix: Tensor) -> None:
    """Refuse what shards cannot do: Newton–Schulz where an axis is shorter than the processes are many."""
    spread = as_dtensor(matrix)
    if spread is None:
        return
    for axis, placement in enumerate(spread.placements):
        processes = spread.device_mesh.size(axis)
        if any(placement.is_shard(side) and size < processes for side, size in enumerate(spread.shape)):
            raise UserError(
                f"expected a spectral matrix of at least one row a process, got shape {tuple(spread.shape)} over "
                f"{processes} processes; try param_groups_for(model, rest=[its name])"
            )


def _tensor(named: Any) -> Tensor:
    return named[1] if isinstance(named, tuple) else named


def _matrix(parameter: Tensor) -> Tensor:
    if parameter.ndim == 2:
        return parameter
    matrix = as_matrix(parameter.detach())
    if matrix.data_ptr() != parameter.data_ptr():
        raise UserError(
            f"expected a kernel whose memory is in one piece, got strides {parameter.stride()} for shape "
            f"{tuple(parameter.shape)}; try param_groups_for(model, conv='rest')"
        )
    if parameter.grad is not None:
        matrix.grad = as_matrix(parameter.grad, like=parameter)
    return matrix


def _dual_norm(difference: Tensor, group: Group) -> Tensor:
    return dual_norm(_whole(difference), Geometry(group["geometry"]))


def _whole(x: Tensor) -> Tensor:
    """Gather a tensor that is spread over processes: nuclear norms of its parts do not add up to its own."""
    spread = as_dtensor(x)
    return x if spread is None else spread.full_tensor()


def _check_halves(group: Group) -> None:
    halves, group["halves"] = group["halves"], 0
    if halves != 2:
        raise UserError(
            f"expected record_half() after each half of the batch, got {halves} calls before this step; "
            "try optimizer.record_half() after both backward passes, or noise_from='consecutive'"
        )


def _check(*, lr: float, other_lr: float, reference: float | None, noise_from: str, every: int) -> None:
    if not (lr >= 0.0 and other_lr >= 0.0):
        raise UserError(f"expected learning rates at or above 0, got {lr} and {other_lr}; try lr=0.02, other_lr=1e-3")
    if reference is not None and not reference > 0.0:
        raise UserError(f"expected reference above 0, got {reference}; try reference=None to follow the median noise")
    if noise_from not in ("consecutive", "halves"):
        raise UserError(f"expected noise_from consecutive or halves, got {noise_from!r}; try noise_from='halves'")
    if every < 1:
        raise UserError(f"expected every at or above 1, got {every}; try every=32")
