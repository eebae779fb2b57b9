"""Fine-tuning a pre-trained model for one task (paper 3.4)."""
