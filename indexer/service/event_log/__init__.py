"""Events and answers as Parquet files: what tomorrow's model learns from."""
