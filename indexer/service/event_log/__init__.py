"""Events and answers on disk, as files that `ubm-embed ingest --from native` reads."""
