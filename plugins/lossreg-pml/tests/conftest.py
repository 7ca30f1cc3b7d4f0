"""A batch for every loss of labels."""

import pytest
import torch


@pytest.fixture
def batch():
    """Return embeddings and labels, four classes in blocks of two."""
    torch.manual_seed(0)
    return torch.randn(8, 8), torch.arange(8) // 2
