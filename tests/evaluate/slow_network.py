"""The published networks once more, written from the specification alone: one sample at a time, in float64, on published names.

Slow and plain on purpose. It shares no line with `tau0.model`, and makes golden files of any size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def mlp(w: Weights, name: str, x: Tensor) -> Tensor:
    return linear(w, f"{name}.2", torch.nn.functional.gelu(linear(w, f"{name}.0", x), approximate="tanh"))


def layer_norm(x: Tensor, eps: float) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt()


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def turn(x: Tensor, angles: Tensor) -> Tensor:
    """Adjacent channels of each head (tokens, heads, width) by the angles (tokens, width / 2)."""
    out = torch.empty_like(x)
    for pair in range(x.shape[-1] // 2):
        cos, sin = angles[:, None, pair].cos(), angles[:, None, pair].sin()
        even, odd = x[..., 2 * pair], x[..., 2 * pair + 1]
        out[..., 2 * pair], out[..., 2 * pair + 1] = even * cos - odd * sin, even * sin + odd * cos
    return out


def frequencies(pairs: int) -> Tensor:
    return torch.tensor([10000.0 ** (-i / pairs) for i in range(pairs)], dtype=torch.float64)


def angles_1d(length: int, width: int) -> Tensor:
    return torch.arange(length, dtype=torch.float64)[:, None] * frequencies(width // 2)


def angles_3d(grid: tuple[int, int, int], width: int) -> Tensor:
    third = width // 2 // 3
    parts = (frequencies(width // 2 - 2 * third), frequencies(third), frequencies(third))
    places = [(f, r, c) for f in range(grid[0]) for r in range(grid[1]) for c in range(grid[2])]
    return torch.stack([torch.cat([at * part for at, part in zip(place, parts, strict=True)]) for place in places])


def attention(w: Weights, name: str, x: Tensor, heads: int, eps: float, context: Tensor | None, angles: Tensor | None) -> Tensor:
    if f"{name}.qkv.weight" in w:
        q, k, v = linear(w, f"{name}.qkv", x).chunk(3, dim=-1)
    else:
        source = x if context is None else context
        q, k, v = linear(w, f"{name}.q", x), linear(w, f"{name}.k", source), linear(w, f"{name}.v", source)
    q, k = rms_norm(q, w[f"{name}.norm_q.weight"], eps), rms_norm(k, w[f"{name}.norm_k.weight"], eps)
    q, k, v = (t.reshape(len(t), heads, -1) for t in (q, k, v))
    if angles is not None:
        q, k = turn(q, angles), turn(k, angles)
    heard = [(q[:, h] @ k[:, h].T / math.sqrt(q.shape[-1])).softmax(-1) @ v[:, h] for h in range(heads)]
    return linear(w, f"{name}.o", torch.cat(heard, dim=-1))


def block(w: Weights, name: str, x: Tensor, e0: Tensor, angles: Tensor, context: Tensor, heads: int, eps: float) -> Tensor:
    """`e0` has six rows for every token."""
    shift1, scale1, gate1, shift2, scale2, gate2 = (w[f"{name}.modulation"] + e0).unbind(1)
    x = x + gate1 * attention(w, f"{name}.self_attn", layer_norm(x, eps) * (1 + scale1) + shift1, heads, eps, None, angles)
    normed = layer_norm(x, eps) * w[f"{name}.norm3.weight"] + w[f"{name}.norm3.bias"]
    x = x + attention(w, f"{name}.cross_attn", normed, heads, eps, context, None)
    return x + gate2 * mlp(w, f"{name}.ffn", layer_norm(x, eps) * (1 + scale2) + shift2)


def times(w: Weights, prefix: str, timesteps: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """`e` and `e0` of each token."""
    half = timesteps.double()[:, None] * frequencies(width // 2)
    first = torch.nn.functional.silu(linear(w, f"{prefix}time_embedding.0", torch.cat([half.cos(), half.sin()], dim=-1)))
    e = linear(w, f"{prefix}time_embedding.2", first)
    return e, linear(w, f"{prefix}time_projection.1", torch.nn.functional.silu(e)).reshape(len(e), 6, -1)


def head(w: Weights, name: str, x: Tensor, e: Tensor, eps: float) -> Tensor:
    shift, scale = (w[f"{name}.modulation"] + e[:, None]).unbind(1)
    return linear(w, f"{name}.head", layer_norm(x, eps) * (1 + scale) + shift)


def trunk(w: Weights, c: Mapping[str, Any], latents: Tensor, levels: list[float], text: Tensor, steering: Any = None) -> Any:
    """Velocity (z, f, h, w) and the hidden states of every block, for one sample with a timestep per latent frame."""
    pf, ph, pw = c["patch_size"]
    z, f, h, width = latents.shape
    grid = (f // pf, h // ph, width // pw)
    places = [(i, j, k) for i in range(grid[0]) for j in range(grid[1]) for k in range(grid[2])]
    patches = [latents[:, i * pf : (i + 1) * pf, j * ph : (j + 1) * ph, k * pw : (k + 1) * pw].reshape(-1) for i, j, k in places]
    x = torch.stack(patches) @ w["patch_embedding.weight"].flatten(1).T + w["patch_embedding.bias"]
    e, e0 = times(w, "", torch.tensor([levels[i * pf] for i, _, _ in places]), c["freq_dim"])
    if steering is not None:
        of_frame = [i for i, _, _ in places]
        e, e0 = e + steering[0][of_frame], e0 + steering[1][of_frame]
    padded = torch.zeros(c["text_len"], text.shape[1], dtype=torch.float64)
    padded[: len(text)] = text
    context = mlp(w, "text_embedding", padded)
    angles = angles_3d(grid, c["dim"] // c["num_heads"])
    hidden = []
    for layer in range(c["num_layers"]):
        x = block(w, f"blocks.{layer}", x, e0, angles, context, c["num_heads"], c["eps"])
        hidden.append(x)
    tokens = head(w, "head", x, e, c["eps"]).reshape(*grid, pf, ph, pw, z)
    return tokens.permute(6, 0, 3, 1, 4, 2, 5).reshape(z, f, h, width), hidden


def expert(w: Weights, c: Mapping[str, Any], prefix: str, heads: int, tokens: Tensor, levels: Tensor, hidden: list[Tensor]) -> Tensor:
    """Velocity of every token."""
    e, e0 = times(w, prefix, levels, c["freq_dim"])
    x = linear(w, f"{prefix}proj_in", tokens)
    angles = angles_1d(len(x), x.shape[1] // heads)
    for layer, context in enumerate(hidden):
        x = block(w, f"{prefix}blocks.{layer}", x, e0, angles, context, heads, c["eps"])
    return head(w, f"{prefix}head", x, e, c["eps"])


def steer(w: Weights, c: Mapping[str, Any], actions: Tensor, num_clean: int) -> tuple[Tensor, Tensor]:
    """What actions add to `e` and `e0` of each latent frame."""
    steps = mlp(w, "act_cond_proj_in", actions)
    steps = turn(steps[:, None], angles_1d(len(steps), steps.shape[1]))[:, 0]
    group = c["act_cond_patch_size"]
    frames = [torch.zeros(c["act_cond_dim"], dtype=torch.float64)] * num_clean
    frames += [steps[i : i + group].reshape(-1) for i in range(0, len(steps) - 1, group)]
    inputs = torch.stack(frames)
    return mlp(w, "act_cond_proj_in_2", inputs), mlp(w, "act_cond_proj_in_2_6d", inputs).reshape(len(frames), 6, -1)


def policy(w: Weights, c: Mapping[str, Any], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Outputs of a policy's golden file."""
    results: list[dict[str, Tensor]] = []
    for i, latents in enumerate(given["latents"]):
        levels = [0.0] + [float(given["video_timestep"][i])] * (latents.shape[1] - 1)
        video, hidden = trunk(w, c, latents, levels, given["text"][i])
        tokens = torch.cat([given["state"][i], given["noisy_actions"][i]])
        when = torch.tensor([0.0] + [float(given["action_timestep"][i])] * (len(tokens) - 1))
        action = expert(w, c, "action_", c["action_num_heads"], tokens, when, hidden)[1:]
        results.append({"video": video, "action": action, **{f"video_hidden.{n}": h for n, h in enumerate(hidden)}})
    return {name: torch.stack([result[name] for result in results]) for name in results[0]}


def simulator(w: Weights, c: Mapping[str, Any], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Outputs of a simulator's golden file."""
    results: list[dict[str, Tensor]] = []
    num_clean = c["n_mem"] + 1
    for i, latents in enumerate(given["latents"]):
        levels = [0.0] * num_clean + [float(given["video_timestep"][i])] * (latents.shape[1] - num_clean)
        video, hidden = trunk(w, c, latents, levels, given["text"][i], steer(w, c, given["actions"][i], num_clean))
        tokens = given["noisy_progress"][i]
        when = torch.full((len(tokens),), float(given["progress_timestep"][i]))
        results.append({"video": video, "progress": expert(w, c, "reward_", c["reward_num_heads"], tokens, when, hidden)})
    return {name: torch.stack([result[name] for result in results]) for name in results[0]}
