"""What a training run logs, sent to TensorBoard or MLflow as well."""
