"""The training loop, which reads from top to bottom."""

import contextlib
import copy
import math
import os
import textwrap
import time
import warnings
from collections.abc import Callable

import pandas as pd
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from srlib.data import PatchSampler
from srlib.environment import gpu_failure_is_said, memory_is_said
from srlib.training.config import LOSSES, TrainConfig, charbonnier, precision_type, schedule
from srlib.training.identity import describe
from srlib.training.muon import Muon
from srlib.training.run_log import RunLog
from srlib.training.state import Meter, StopRequest, TrainingState, in_main_process, join_processes

__all__ = ["LOSSES", "TrainConfig", "charbonnier", "schedule", "train"]


def train(
    model: nn.Module,
    sampler: PatchSampler,
    config: TrainConfig,
    *,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.l1_loss,
    folder: str | os.PathLike | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    on_step: Callable[[int, nn.Module], None] | None = None,
    on_log: Callable[[dict[str, float]], None] | None = None,
) -> pd.DataFrame:
    """Train a network in place on batches of patches.

    With a `folder`, the same call after Ctrl-C, a crash or a kill resumes from the last checkpoint
    and gives the same weights, bit for bit, as a training that never stopped (if its length is
    given in steps). Ctrl-C, or the kernel's stop button, ends a training after the current step,
    with a checkpoint and the history so far; pressed twice it ends at once. In several processes,
    started by ``torchrun``, two with a batch of 8 train as one with 16 does.

    Parameters
    ----------
    model : nn.Module
        Moved to the sampler's device. Left in training mode, with the averaged weights if any.
    sampler : PatchSampler
    config : TrainConfig
    loss : callable
        Takes prediction and target, both float32 (N, 3, H, W) in 0..1; returns a scalar. One that
        is an nn.Module, such as `srlib.training.adversarial.AdversarialLoss`, is moved to the
        device, its layers compute in bfloat16 where the network's do, and its state is part of
        each checkpoint.
    folder : path, optional
        For checkpoints, ``log.csv`` and ``config.json``. The training in it goes on only with the
        same settings, pictures, seed of the sampler, options of the network and loss, which is
        known by its name. ValueError where something differs, or another training is using it.
        Without one nothing is written, also where ``config.checkpoint_every`` is given.
    validate : callable, optional
        Takes the network, returns a PSNR in dB on images that are not trained on.
    on_step : callable, optional
        Called with the number of the step, from 1, and the model, after each step.
    on_log : callable, optional
        Called with each row of the history, a dict. The clock stops during all three calls.

    Returns
    -------
    DataFrame
        A row every ``config.log_every`` steps: ``seconds`` since the start, ``loss`` and
        ``psnr_db`` (all channels) of the batches since the row before, ``learning_rate``,
        ``gradient_norm`` before clipping, ``patches_per_s``, ``validation_db`` (NaN where not
        validated). ``attrs["complete"]`` is False if it was stopped.

    Raises
    ------
    ValueError
        If the network has no parameter to train, or ``config.tensorboard`` has no `folder`.
    FloatingPointError
        If the loss is not finite; the model then has the last weights that were seen to be good.
    MemoryError
        If a batch is too large for the memory.
    RuntimeError
        If the GPU fails or is lost.
    srlib.training.checkpoint.CheckpointError
        If the folder cannot be written, because the disk is full for instance; the model in memory
        is usable, and so is the last checkpoint.
    """
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError(
            "the network has nothing to train: no parameter that requires a gradient. A plain list "
            "hides the layers in it, nn.ModuleList does not"
        )
    if config.tensorboard and folder is None:
        raise ValueError("tensorboard=True needs a folder to write to, got folder=None")
    device = sampler.device
    join_processes(device)
    accelerator = Accelerator(device_placement=False, mixed_precision="no")
    rank, processes = accelerator.process_index, accelerator.num_processes
    if config.seconds and processes > 1:
        raise ValueError(f"several processes need steps, got seconds={config.seconds!r}")
    precision = precision_type(config.mixed_precision, device)

    # network, average, optimizer
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    model.to(device, memory_format=layout).train()
    if processes > 1:
        for buffer in model.buffers():  # torch cannot send one of (N, 1, H, W) in channels-last
            buffer.data = buffer.clone(memory_format=torch.contiguous_format)
    ema = None
    if config.ema_decay:
        ema = AveragedModel(model)
    best = ema.module if ema else model  # what is validated, and what remains
    optimizer = _optimizer(model, config)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    meter = Meter(sampler.batch_size * processes, accelerator, device)

    parts = {"model": model, "optimizer": optimizer, "sampler": sampler, "meter": meter}
    parts |= {"scaler": scaler} if scaler.is_enabled() else {}
    parts |= {"ema": ema} if ema else {}
    if isinstance(loss, nn.Module):  # it may learn, too
        parts["loss"] = loss.to(device)
    state = TrainingState(accelerator, parts, may_overflow=scaler.is_enabled())
    description = describe(model, sampler, config, loss, processes) if folder is not None else {}
    log = RunLog(folder if rank == 0 else None, description, tensorboard=config.tensorboard)
    patches = f"{sampler.batch_size} patches"
    if size := getattr(sampler, "lr_patch_size", None):  # a sampler of one's own may have none
        patches += f" of {size} x {size} LR pixels"
    memory_short = (
        f"{patches} need more memory than there is; choose a smaller batch_size or network. "
        "The last checkpoint is whole"
    )
    gpu_lost = (
        "The last checkpoint is whole: start Python, or the notebook's kernel, anew, and the same "
        "call goes on from there"
    )
    with contextlib.ExitStack() as stack:
        # resume
        stack.enter_context(gpu_failure_is_said(gpu_lost))
        stack.enter_context(memory_is_said(memory_short))
        stack.enter_context(contextlib.closing(log))
        in_main_process(accelerator, log.read)
        step, seconds = state.restore(log.checkpoint)
        saved = step
        done = step / config.steps if config.steps else seconds / config.seconds  # 0..1
        if done < 1:  # a finished one stays as it is
            in_main_process(accelerator, log.open)

        # several processes, compiler
        network = accelerator.prepare(model)
        if config.compile != "no" and done < 1:
            network = _compiled(network, model, sampler, loss, precision, config.compile)

        bar = tqdm(
            desc="train",
            total=config.steps or config.seconds,
            initial=step if config.steps else round(seconds, 1),
            unit="step" if config.steps else "s",
            disable=not config.progress or rank > 0,
        )
        stop = stack.enter_context(StopRequest(accelerator))
        stack.enter_context(bar)
        validation = ""  # the last one, for the bar
        start = time.perf_counter() - seconds
        while done < 1 and not stop.agreed(device.type == "cpu" or step % config.log_every == 0):
            # set the learning rate
            learning_rate = config.learning_rate * schedule(config.schedule, done, config.warmup)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate

            # forward
            lr, hr = sampler.sample(rank, processes)  # (N, 3, P, P), (N, 3, sP, sP)
            sr, value = _forward(network, loss, lr, hr, precision)

            # backward, and clip the gradient
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(value).backward()
            scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm or math.inf)
            meter.add(value.detach(), F.mse_loss(sr.detach().float(), hr), norm)
            state.watch(step + 1, learning_rate, value, norm)

            # update the weights and their average
            scaler.step(optimizer)
            scaler.update()
            if ema:
                _update_average(ema, model, config.ema_decay)
            step, seconds = step + 1, time.perf_counter() - start
            done = step / config.steps if config.steps else seconds / config.seconds

            # validate and log
            validated = done >= 1 or _due(step, config.validate_every)
            if validated or _due(step, config.log_every):
                means = state.check(meter.means())
                row = {"step": step, "seconds": seconds, "learning_rate": learning_rate}
                row |= meter.read(seconds, means)
                row["validation_db"] = math.nan
                if validated and validate is not None and rank == 0:
                    row["validation_db"] = float(validate(best))
                    best.train()
                    validation = f", validation {row['validation_db']:.2f} dB"
                log.add(row)
                text = f"{row['psnr_db']:.2f} dB{validation}, {row['patches_per_s']:.0f} patches/s"
                bar.set_postfix_str(text, refresh=False)
                if on_log is not None and rank == 0:
                    on_log(dict(row))
            if on_step is not None:
                on_step(step, model)

            # save
            if _due(step, config.checkpoint_every) and done < 1:
                log.save(step, state.collect(seconds))
                saved = step
            bar.update((step if config.steps else min(round(seconds, 1), bar.total)) - bar.n)
            start = time.perf_counter() - seconds  # what came after the step is not on the clock
        if step > saved:
            log.save(step, state.collect(seconds))
    if done < 1 and rank == 0:
        again = f"; call again with folder={str(folder)!r} to go on" if folder else ""
        tqdm.write(f"stopped after step {step}, the model has the weights of that step{again}")
    if ema:
        model.load_state_dict(best.state_dict())
    accelerator.wait_for_everyone()
    history = log.table()
    history.attrs["complete"] = done >= 1
    return history


def _forward(network, loss, lr, hr, precision):
    """Return the prediction and its loss."""
    with torch.autocast(hr.device.type, precision, enabled=precision != torch.float32):
        sr = network(lr)
    # Layers of a loss: not in fp16, whose gradients vanish where a loss takes a step of its own.
    half = isinstance(loss, nn.Module) and precision == torch.bfloat16
    with torch.autocast(hr.device.type, precision, enabled=half):
        return sr, loss(sr.float(), hr)


@torch.no_grad()
def _update_average(ema, model, decay):
    """Do as ``ema.update_parameters(model)``, which waits for the GPU to read its own count."""
    averaged, current = list(ema.module.parameters()), list(model.parameters())
    torch._foreach_lerp_(averaged, current, 1 - decay if ema.n_averaged else 1)
    for old, new in zip(ema.module.buffers(), model.buffers(), strict=True):
        old.copy_(new)
    ema.n_averaged += 1


def _compiled(network, model, sampler, loss, precision, mode):
    """Compile a network, or say why it cannot be and return it as it is."""
    compiled = torch.compile(network, mode=mode)
    try:
        _warm_up(compiled, model, sampler, loss, precision)
    except RuntimeError as error:
        # Inductor's own errors, and Triton's, which finds no C compiler.
        its_own = type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
        if not its_own and "compiler" not in str(error):
            raise
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        warnings.warn(f"training goes on uncompiled, because: {reason}", stacklevel=3)
        return network
    return compiled


def _optimizer(model, config):
    fused = next(model.parameters()).device.type == "cuda"
    if config.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=fused)
    kind = Muon if config.optimizer == "muon" else torch.optim.Adam
    return kind(model.parameters(), fused=fused)


def _warm_up(network, model, sampler, loss, precision):
    """Compile forward and backward; weights, buffers and random numbers stay as they were."""
    before, place, device = copy.deepcopy(model.state_dict()), sampler.state_dict(), sampler.device
    lr, hr = sampler.sample()  # with other strides, the first real batch would be compiled again
    sampler.load_state_dict(place)
    # The last also where the compiler fails.
    with contextlib.ExitStack() as at_end:
        at_end.callback(model.load_state_dict, before)
        if isinstance(loss, nn.Module):
            at_end.callback(loss.load_state_dict, copy.deepcopy(loss.state_dict()))
        at_end.enter_context(
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        )
        for _ in range(3):  # CUDA graphs: the first calls warm up, then record, then replay
            _forward(network, loss, lr, torch.zeros_like(hr), precision)[1].backward()
            model.zero_grad(set_to_none=True)


def _due(step, every):
    return every is not None and step % every == 0
