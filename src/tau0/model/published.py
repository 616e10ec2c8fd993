"""Shapes under the field names of the published configurations (SPEC.md section 9), and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tau0.model.config import ConditioningConfig, ExpertConfig, TrunkConfig, WorldModelConfig


def from_published_shape(published: Mapping[str, Any]) -> WorldModelConfig:
    """Our config from a published policy's or simulator's, or from both laid together. Raises `KeyError` for a field that is not there."""
    trunk = TrunkConfig(
        width=published["dim"], ffn_width=published["ffn_dim"], num_heads=published["num_heads"], num_layers=published["num_layers"],
        latent_channels=published["in_dim"], text_width=published["text_dim"], text_length=published["text_len"],
        patch=tuple(published["patch_size"]), frequency_width=published["freq_dim"], eps=published["eps"],
    )  # fmt: skip
    action = conditioning = progress = None
    if "action_in_dim" in published:
        action = ExpertConfig(
            dim=published["action_in_dim"], width=published["action_dim"],
            ffn_width=published["action_ffn_dim"], num_heads=published["action_num_heads"],
        )  # fmt: skip
    if "act_cond_in_dim" in published:
        width, group = published["act_cond_dim"], published["act_cond_patch_size"]
        conditioning = ConditioningConfig(action_dim=published["act_cond_in_dim"], width=width, group=group)
        progress = ExpertConfig(
            dim=published["reward_in_dim"], width=width, ffn_width=published["reward_ffn_dim"], num_heads=published["reward_num_heads"]
        )
    return WorldModelConfig(trunk=trunk, action=action, conditioning=conditioning, progress=progress)


def to_published_shape(config: WorldModelConfig) -> dict[str, Any]:
    """The inverse, for the parts that the config has.

    Raises:
        ValueError: When the progress expert is not as wide as the conditioning, which the published form cannot say.
    """
    trunk, action, conditioning, progress = config.trunk, config.action, config.conditioning, config.progress
    published: dict[str, Any] = {
        "model_type": "ti2v", "patch_size": list(trunk.patch), "text_len": trunk.text_length, "in_dim": trunk.latent_channels,
        "dim": trunk.width, "ffn_dim": trunk.ffn_width, "freq_dim": trunk.frequency_width, "text_dim": trunk.text_width,
        "out_dim": trunk.latent_channels, "num_heads": trunk.num_heads, "num_layers": trunk.num_layers, "qk_norm": True,
        "cross_attn_norm": True, "eps": trunk.eps,
    }  # fmt: skip
    if action is not None:
        published |= {
            "action_in_dim": action.dim, "action_dim": action.width,
            "action_ffn_dim": action.ffn_width, "action_num_heads": action.num_heads,
        }  # fmt: skip
    if conditioning is not None and progress is not None:
        if conditioning.width != progress.width:
            raise ValueError(
                f"the published form has one width for both: progress expert {progress.width}, conditioning {conditioning.width}"
            )
        published |= {
            "act_cond_in_dim": conditioning.action_dim, "act_cond_dim": conditioning.width, "act_cond_patch_size": conditioning.group,
            "reward_in_dim": progress.dim, "reward_ffn_dim": progress.ffn_width, "reward_num_heads": progress.num_heads,
        }  # fmt: skip
    return published


def to_diffusers_shape(trunk: TrunkConfig) -> dict[str, Any]:
    """The `config.json` of diffusers' `WanTransformer3DModel` with this trunk's shape."""
    return {
        "_class_name": "WanTransformer3DModel", "patch_size": list(trunk.patch), "num_attention_heads": trunk.num_heads,
        "attention_head_dim": trunk.width // trunk.num_heads, "in_channels": trunk.latent_channels, "out_channels": trunk.latent_channels,
        "text_dim": trunk.text_width, "freq_dim": trunk.frequency_width, "ffn_dim": trunk.ffn_width, "num_layers": trunk.num_layers,
        "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads", "eps": trunk.eps, "image_dim": None, "added_kv_proj_dim": None,
        "rope_max_seq_len": 1024,
    }  # fmt: skip
