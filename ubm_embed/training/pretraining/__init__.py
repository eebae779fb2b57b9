"""Two-stage contrastive pre-training (paper 3.2)."""
