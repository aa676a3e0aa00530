"""The transformer over patches computes what plain torch computes."""

import pytest
import torch
import torch.nn.functional as F

from siglum.lab.models.patch_transformer import PatchTransformer


@pytest.mark.parametrize("pool", ["mean", "class"])
def test_is_torchs_encoder_over_unfolded_patches(pool: str) -> None:
    """In evaluation, for more images than pass the encoder at once."""
    torch.manual_seed(0)
    images = torch.rand(11, 3, 21, 21)
    model = PatchTransformer(5, 3, 21, patch=5, stride=3, depth=2, pool=pool).eval()
    patches = F.unfold(images, 5, stride=3).transpose(1, 2)
    tokens = F.linear(patches, model.embed.weight.flatten(1), model.embed.bias) + model.positions
    if model.class_token is not None:
        tokens = torch.cat([model.class_token.expand(11, 1, 48), tokens], dim=1)
    for layer in model.encoder[:2]:
        plain = torch.nn.TransformerEncoderLayer(
            48, 8, 128, activation="gelu", batch_first=True, norm_first=True
        )
        plain.load_state_dict(layer.state_dict())
        tokens = plain.eval()(tokens)
    tokens = model.encoder[2](tokens)

    assert tokens.shape == (11, 36 + (pool == "class"), 48)
    features = tokens[:, 0] if pool == "class" else tokens.mean(dim=1)
    torch.testing.assert_close(model(images), model.head(features))
