"""Ticket: weights at the rewind point, the mask, the optimizer's state there, and where they came from.

A ticket file is a `.keras` model (the masked, untrained network) with two more members in its zip:
`ticket.npz` (optimizer state, and the round that removed each weight) and `ticket.json` (provenance, and the SHA-256
of the other members and of itself, by which a changed file is told; older files have none). The file of a
subclassed model, which Keras cannot build again, holds these two alone, weights and masks among the arrays.
"""

import dataclasses
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasticket import masks
from kerasticket.backend import distribution
from kerasticket.files import json_text, typed
from kerasticket.files.arrays import Arrays, with_manifest
from kerasticket.files.atomic import atomic
from kerasticket.files.environment import environment
from kerasticket.layers.copies import duplicate
from kerasticket.masks import Mask
from kerasticket.models import attributes, saved
from kerasticket.models.paths import SEED_STATE, masked_weights, named_variables, raw_params, renamed
from kerasticket.params import Params, differing, mismatch
from kerasticket.tickets import controls, masking, optimizer_state, same_bytes
from kerasticket.tickets.contents import Contents
from kerasticket.tickets.conversion import MasksWouldBeLostError, can_be_copied

FORMAT = 1
HEADER, ARRAYS = "ticket.json", "ticket.npz"


@dataclasses.dataclass(frozen=True)
class Ticket(Contents):
    """A subnetwork at its rewind point.

    Attributes:
        params: weights, statistics and seed states; pruned weights are exactly zero.
        mask: which entries of each masked weight are kept.
        removed_in: like `mask`, the round that removed each weight, 0 where it is kept.
        architecture: the masked network as Keras serializes it, as JSON; None for models that cannot be.
        optimizer: state of the optimizer at the rewind point, slots times mask; empty = fresh.
        rewind_epoch: epochs of training behind `params`; 0 = initialization.
        stages: how the mask came about, one dict per call of a pruning method, in order.
        template: what `model` copies: a masked model with all that no config tells, vocabularies, functions, flags.
    """

    @classmethod
    def dense(cls, model: keras.Model, *, rewind_epoch: int = 0, optimizer: Params | None = None) -> "Ticket":
        """The model as it stands, as a ticket; weights that its masks prune count as removed in round 0.

        Args:
            model: a masked model.
            rewind_epoch, optimizer: epochs behind its weights and `optimizer_state.get_state`; default: none, fresh.

        Raises:
            ValueError: no layer is masked.
        """
        masking.require_masked(model)
        mask = masking.get_mask(model)
        removed = {path: np.zeros(array.shape, np.uint16) for path, array in mask.items()}
        params = masking.get_params(model)
        architecture = _architecture(model)
        copied = architecture is not None or can_be_copied(model)
        template = duplicate(model) if copied else None
        return cls(params, mask, removed, architecture, optimizer or {}, rewind_epoch, template=template)

    def pruned(
        self,
        mask: Mask,
        stage: dict,
        *,
        params: Params | None = None,
        optimizer: Params | None = None,
        round: int | None = None,
    ) -> "Ticket":
        """The ticket after one more round, which kept `mask`.

        Args:
            mask: nested in this ticket's mask.
            stage: JSON-able description of the method; equal consecutive stages are merged into one.
            params, optimizer: the rewind point to start from, default the one of this ticket.
            round: number of the round, default the next one.
        """
        masks.check_is_mask(mask)
        wrong = mismatch(mask, self.mask, "the mask") or _not_boolean(mask)
        if wrong:
            raise ValueError(f"Expected a mask like the ticket's own. {wrong}")
        if not masks.is_nested(mask, self.mask):
            raise ValueError("Expected a mask nested in the ticket's: a pruned weight does not come back.")
        number = self.round + 1 if round is None else round
        removed = {
            path: np.where(self.mask[path] & ~mask[path], np.uint16(number), self.removed_in[path]) for path in mask
        }
        zeroed = masks.zeroed(self.params if params is None else params, mask)
        slots = optimizer_state.masked_state(self.optimizer if optimizer is None else optimizer, mask)
        stages = _extended(self.stages, stage, number)
        return dataclasses.replace(self, params=zeroed, mask=mask, removed_in=removed, optimizer=slots, stages=stages)

    def shuffled(self, seed: int, *, dense: "Ticket | None" = None) -> "Ticket":
        """Control: the mask permuted within each kernel, so that only the shares of the layers are left of it.

        Args:
            seed: of the permutations; each round has its own.
            dense: the ticket before pruning, at the same rewind point (`imp.tickets[0]`), which has the weights
                that this one lacks. None draws them anew from the architecture, if its initializers are seeded
                (as those of `kerasticket.models` with `seed=`) and the weights kept here are then the same to the bit.

        Raises:
            ValueError: `dense` is another network's or at another epoch, or is None and cannot be drawn.
        """
        return controls.shuffled(self, seed, dense)

    def inverted(self, seed: int = 0, *, dense: "Ticket | None" = None) -> "Ticket":
        """Control: keeps what was removed first; as many weights in each kernel as this ticket.

        That is the scores inverted within each kernel, as far as the record of rounds tells them; among weights
        of one round `seed` draws. Up to a density of 1/2 no weight is kept by both; above it, the overlap is the
        least that equal counts allow.

        Args and errors: as `shuffled`.
        """
        return controls.inverted(self, seed, dense)

    def random_like(self, seed: int, *, dense: "Ticket | None" = None, scope: str = "global") -> "Ticket":
        """Control: a random mask, drawn in one go, that keeps exactly as many weights.

        Args:
            seed, dense: as of `shuffled`.
            scope: "global": as many in all, so that the kernels' shares are nearly equal; "layer": as many in
                each kernel.

        Raises:
            ValueError: another scope; else as `shuffled`.
        """
        return controls.random_like(self, seed, dense, scope)

    def reinitialized(self, seed: int) -> "Ticket":
        """Control: the same mask on new initial weights, at epoch 0 with a fresh optimizer.

        Every initializer of the architecture draws anew, as a pure function of `seed` on a given backend; those
        of `kerasticket.models` draw the same numbers on all backends, Keras' own do not. Constants (zero biases,
        moving statistics) are set to their initial values. Seed states, of dropout for instance, stay the ticket's.

        Raises:
            ValueError: a subclassed model's ticket, or initial weights that differ from build to build.
        """
        return controls.reinitialized(self, seed)

    def apply(self, model: keras.Model) -> None:
        """Makes the model this ticket: weights, statistics, masks, and the optimizer if it is compiled.

        Raises:
            ValueError: the ticket is another model's; nothing has been changed then.
        """
        self._check_fits(model)
        state = self._optimizer_state(model)
        if state:
            optimizer_state.check(model, state)
        masking.set_params(model, self.params, self.mask)
        if state:  # asked for again: slots of a fresh optimizer may be copies of the weights
            optimizer_state.set_state(model, self._optimizer_state(model))

    def verify(self, model: keras.Model) -> None:
        """Raises ValueError unless the model is this ticket to the bit.

        That is: masks equal, pruned weights exactly zero in the variables themselves, all other weights,
        statistics and seed states equal, and the optimizer of a compiled model at the rewind point, its
        learning rate apart, which is a setting.
        """
        self._check_fits(model)
        problems = [f"mask of '{path}'" for path in differing(masking.get_mask(model), self.mask)]
        problems += [f"weights of '{path}'" for path in differing(raw_params(model), self.params)]
        expected = self._optimizer_state(model)
        if expected:
            problems += [f"optimizer's '{key}'" for key in differing(optimizer_state.get_state(model), expected)]
        if problems:
            raise ValueError(
                f"The model is not this ticket (round {self.round}, sparsity {self.sparsity:.2%}): different are the "
                f"{', the '.join(problems[:6])}{' and more' if len(problems) > 6 else ''}. Call ticket.apply(model)."
            )

    def model(self) -> keras.Model:
        """A new masked Keras model that is this ticket, not compiled.

        Raises:
            ValueError: the ticket is of a model that Keras cannot build again, a subclassed one for instance, or of one
                that was made in another scope of a distribution than is open: load its file there.
        """
        if self.template is not None:
            model = duplicate(self.template)
        elif self.architecture is not None:
            model = keras.saving.deserialize_keras_object(json.loads(self.architecture))
        else:
            raise ValueError(
                "This ticket is of a subclassed model, or one with layers inside your own: build that model, call it "
                "once, then ticket.apply(kerasticket.masked(model))."
            )
        distribution.check_scope(model)
        masking.set_params(model, self.params, self.mask)
        return model

    def save(self, path: str | Path) -> None:
        """Writes the `.keras` file; temporary name first, so an interrupted save leaves nothing behind.

        The same ticket gives the same bytes, on one machine with one set of packages. Plain Keras opens it, unless the
        ticket holds no architecture. No Python code is written: a Lambda layer with a lambda, or a function or class
        that Keras cannot find by name when it reads the file, is refused.

        Raises:
            ValueError: another ending than `.keras`, a folder that cannot be written to, or a network that could not be
                read again.
        """
        path = Path(path)
        if path.suffix != ".keras":
            raise ValueError(f"Expected a path that ends in .keras. Received: '{path}'.")
        header = self._header()
        with atomic(path) as temporary:
            if self.architecture is not None:
                header["beside"] = self._write(temporary)
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(same_bytes.entry(ARRAYS), _npz(self._arrays()))
                members = {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}
                header = json_text.sealed(header | {"members": members})
                archive.writestr(same_bytes.entry(HEADER), json.dumps(header, indent=1))

    def save_trained(self, path: str | Path, trained: Params) -> None:
        """Writes what became of this ticket, `trained` params under its mask, as an ordinary `.keras` model."""
        with atomic(path) as temporary:
            dataclasses.replace(self, params=trained)._write(temporary)

    def _write(self, path: Path) -> dict:
        """Writes the model, after a look that its config can be read; gives what the file does not hold of it."""
        model = self.model()
        try:
            twin = keras.saving.deserialize_keras_object(json.loads(self.architecture or ""))
            wrong = mismatch(named_variables(model), named_variables(twin), "the ticket")
            if wrong:
                raise ValueError(f"Built from its config, it is another model: {wrong}")
        except Exception as error:  # whatever a class raises that cannot be built
            raise ValueError(
                f"Expected a network that can be read again. Received: '{model.name}' ({_first(error)}). Files hold no "
                "Python code: put a named function or your own layer in the place of a lambda, decorate functions and "
                "classes with @keras.saving.register_keras_serializable(), and give each layer a get_config with all "
                "that its __init__ takes. In this process ticket.model() works as it is; weights and masks alone, for "
                "`apply` on a model that you build, are written by "
                "dataclasses.replace(ticket, architecture=None).save(path)."
            ) from error
        found = attributes.record(model, twin)
        model.save(path)
        same_bytes.rewrite(path)
        return found

    @classmethod
    def load(cls, path: str | Path) -> "Ticket":
        """Reads a ticket file, on any backend.

        Raises:
            ValueError: no such file, a damaged one, or one that is no ticket.
        """
        try:
            with saved.opened(path) as members:
                header = json_text.unsealed(json_text.loads(members.read(HEADER)))
                if header.get("format") != FORMAT:
                    raise ValueError(f"format {header.get('format')}, this version reads {FORMAT}")
                _check_header(header)
                _check_members(saved.check(members, told="members" in header), header.get("members"))
                packed = members.read(ARRAYS)
                with Arrays(io.BytesIO(packed), len(packed)) as archive:
                    arrays = archive.all()
                has_model = saved.CONFIG in members.entries
            model = keras.saving.load_model(path, compile=False, safe_mode=True) if has_model else None
            if model is not None:
                attributes.put(model, header.get("beside", {}))
            return cls._from_file(model, header, arrays)
        except Exception as error:
            raise ValueError(
                f"Expected a ticket that Ticket.save wrote. Received: '{path}' ({type(error).__name__}: {error}). "
                "It is absent, damaged, or an ordinary file; make it again."
            ) from error

    @classmethod
    def _from_file(cls, model: keras.Model | None, header: dict, arrays: dict[str, np.ndarray]) -> "Ticket":
        if model is None:
            params, mask = _with_prefix(arrays, "param|"), _with_prefix(arrays, "mask|")
        else:
            params, mask = masking.get_params(model), masking.get_mask(model)
        seeds, removed = _with_prefix(arrays, "seed|"), _with_prefix(arrays, "removed_in|")
        slots = _with_prefix(arrays, "optimizer|")
        if model is not None and removed.keys() != mask.keys():
            seeds, removed, slots = renamed(model, seeds), renamed(model, removed), _renamed_slots(model, slots)
        wrong = mismatch(seeds, {path: array for path, array in params.items() if path.endswith(SEED_STATE)}, "it")
        wrong = wrong or mismatch(removed, mask, "its record of removals")
        if wrong:
            raise ValueError(wrong)
        architecture = None if model is None else _architecture(model)
        stages = tuple(header["stages"])
        return cls(
            params | seeds, mask, removed, architecture, slots, int(header["rewind_epoch"]), stages, template=model
        )

    def _optimizer_state(self, model: keras.Model) -> Params:
        """What the optimizers of the model must hold; empty if it has none, or fresh ones that are not built."""
        if not optimizer_state.optimizers_of(model):
            return {}
        if self.optimizer:
            optimizer_state.build(model, self.optimizer)
            return self.optimizer
        return optimizer_state.fresh_state(model) if optimizer_state.is_built(model) else {}

    def _header(self) -> dict:
        versions = environment()
        versions.pop("command")
        about = {"format": FORMAT, "round": self.round, "sparsity": self.sparsity, "kept": self.kept}
        return about | {"rewind_epoch": self.rewind_epoch, "stages": list(self.stages), "written_by": versions}

    def _arrays(self) -> dict[str, np.ndarray]:
        """What a `.keras` file does not hold: Keras drops the states of seed generators. All of it if there is none."""
        seeds = {f"seed|{path}": array for path, array in self.params.items() if path.endswith(SEED_STATE)}
        removed = {f"removed_in|{path}": array for path, array in self.removed_in.items()}
        arrays = seeds | removed | {f"optimizer|{key}": array for key, array in self.optimizer.items()}
        if self.architecture is None:
            arrays |= {f"param|{path}": array for path, array in self.params.items()}
            arrays |= {f"mask|{path}": array for path, array in self.mask.items()}
        return arrays

    def _check_fits(self, model: keras.Model) -> None:
        masks_of_model = {path: held.mask for path, held in masked_weights(model).items()}
        wrong = mismatch(self.params, named_variables(model), "the ticket")
        wrong = wrong or mismatch(self.mask, masks_of_model, "the ticket's mask")
        if wrong:
            raise ValueError(f"The ticket is another model's. {wrong} Build that model, or take ticket.model().")


def _check_header(header: dict) -> None:
    """Raises ValueError unless the fields that are read are there, and of their types."""
    hints = {"rewind_epoch": int, "stages": tuple[dict[str, Any], ...], "members": dict[str, str]}
    absent = {"rewind_epoch", "stages"} - header.keys()
    if absent:
        raise ValueError(f"{HEADER} lacks {sorted(absent)}")
    typed.check(header, hints, HEADER)
    for stage in header["stages"]:
        typed.check({"last_round": stage.get("last_round")}, {"last_round": int}, HEADER)


def _check_members(found: dict[str, str], said: dict[str, str] | None) -> None:
    """Raises ValueError where the members of a ticket file are others than its header says; old files say nothing."""
    found = {name: digest for name, digest in found.items() if name != HEADER}
    if said is not None and found != said:
        others = sorted(name for name in {*found, *said} if found.get(name) != said.get(name))
        raise ValueError(f"its members {others[:4]} are missing, or were added or changed")


def _architecture(model: keras.Model) -> str | None:
    try:
        config = keras.saving.serialize_keras_object(model)
        config.pop("compile_config", None)
        return json.dumps(config)
    except (NotImplementedError, TypeError, MasksWouldBeLostError):
        return None  # a subclassed model without a config of its own


def _renamed_slots(model: keras.Model, slots: Params) -> Params:
    """`renamed` for the keys of an optimizer's state, "<path>:<slot>" and some without a path."""
    path_of = {key: key.rpartition(":")[0] for key in slots}
    paths = renamed(model, {path: path for path in path_of.values() if path})
    now = {given: path for path, given in paths.items()}
    return {now[path] + key[len(path) :] if path else key: slots[key] for key, path in path_of.items()}


def _first(error: Exception, most: int = 300) -> str:
    """The kind and the first words of what an error came from, on one line."""
    while (origin := error.__cause__ or error.__context__) is not None:
        error = origin  # type: ignore[assignment]
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words if len(words) <= most else words[:most] + ' ...'}"


def _not_boolean(mask: Mask) -> str | None:
    return next(
        (f"It has dtype {a.dtype}, not bool, at '{path}'." for path, a in mask.items() if a.dtype != bool), None
    )


def _extended(stages: tuple[dict, ...], stage: dict, number: int) -> tuple[dict, ...]:
    """The stages with round `number` of `stage` added to the last one if that is the same method."""
    if stages:
        last = {key: value for key, value in stages[-1].items() if key not in ("first_round", "last_round")}
        if last == stage and stages[-1]["last_round"] == number - 1:
            return (*stages[:-1], {**stages[-1], "last_round": number})
    return (*stages, {**stage, "first_round": number, "last_round": number})


def _with_prefix(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **with_manifest(arrays))  # type: ignore[arg-type]
    return buffer.getvalue()
