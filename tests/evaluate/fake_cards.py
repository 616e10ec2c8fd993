"""A simulator's card as JSON, with plausible numbers in every field that the report has words for."""

from __future__ import annotations

from typing import Any


def near(value: float, half: float = 0.04) -> dict[str, float]:
    """An interval around a value."""
    return {"estimate": value, "low": value - half, "high": value + half}


def fake_card() -> dict[str, Any]:
    """The card as a file would give it back."""
    return {
        "fingerprint": "53cbcf082cf0d217",
        "num_windows": {"demonstration": 480, "failure": 480, "branch": 300},
        "num_moving": 312,
        "num_episodes": 261,
        "future": _future(0.38),
        "picture": _future(0.41),
        "actions": _actions(),
        "progress": _progress(),
        "pictures": _pictures(),
        "rollouts": _rollouts(),
        "physics": _physics(),
    }


def _future(moving: float) -> dict[str, Any]:
    kinds = {"demonstration": near(0.31), "branch": near(0.23), "failure": near(-0.02)}
    return {"everywhere": near(0.21), "moving": near(moving), "on_what_moves": near(0.35), "by_kind": kinds}


def _actions() -> dict[str, Any]:
    direction = {"numbers": ["x", "y", "z"], "read_from_real": near(0.91), "own": near(0.78), "negated": near(-0.61)}
    direction |= {"swapped": near(0.55), "motion_when_zeroed": near(0.12)}
    change = {"swapped": near(0.52), "negated": near(0.83)}
    more = {"negated": near(1.3), "zeroed": near(0.48), "drawn": near(0.9)}
    return {"swapped": near(0.46), "moving": near(0.41), "same_state": None, "change": change, "direction": direction, **more}


def _progress() -> dict[str, Any]:
    lows = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75)
    bins = [{"low": x, "high": x + 0.25, "num_steps": int(900 * (1 - x)), "predicted": x + 0.12, "true": near(0.7 * x, 0.15)} for x in lows]
    return {
        "auroc": near(0.76),
        "auroc_last": near(0.81),
        "auroc_late": near(0.89),
        "ranking": near(0.57, 0.12),
        "top": near(0.63, 0.15),
        "top_by_chance": 0.26,
        "num_groups": 47,
        "rank_all": near(0.66),
        "rank_successes": near(0.71),
        "calibration": bins,
        "calibration_error": near(0.11),
        "range": near(0.2),
        "true_range": near(0.31),
        "within": near(0.82),
        "flat": near(0.14),
    }


def _pictures() -> dict[str, Any]:
    def horizons(scale: float, sign: float) -> list[dict[str, Any]]:
        return [
            {
                "seconds": seconds,
                "imagined": near(scale * (0.95 - 0.1 * seconds)),
                "copied": near(scale * (0.9 - 0.12 * seconds)),
                "kept": near(scale * (0.88 - 0.12 * seconds)),
                "encoded": near(scale),
                "gain": near(sign * scale * 0.05 * seconds, scale * 0.01),
            }
            for seconds in (0.8, 1.6)
        ]

    measures = {"psnr_db": horizons(28.0, 1.0), "ssim": horizons(0.9, 1.0), "perceptual": horizons(0.3, -1.0)}
    return {"num_windows": 200, "num_moving": 100, "perceptual": "LPIPS, SqueezeNet", "views": {"front": measures, "wrist": measures}}


def _rollouts() -> dict[str, Any]:
    frames = [{"seconds": 0.8 * i, "num_rollouts": 40 - i, "gain": near(0.62 - 0.055 * i, 0.1)} for i in range(1, 14)]
    ends = {
        "horizon_s": near(8.8, 0.8),
        "is_broken": True,
        "late_horizon_s": near(2.4, 0.8),
        "is_late": True,
        "unbroken": near(0.55),
        "lasted": near(0.8),
    }
    return {"num_rollouts": 40, "frames": frames, **ends}


def _physics() -> dict[str, Any]:
    counts = {"num_states": 60, "num_candidates": 8, "num_decided": 41}
    return {**counts, "progress": near(0.61), "score": near(0.57), "top": near(0.48), "top_by_chance": 0.31}
