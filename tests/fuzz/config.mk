fuzz_config_LIBS := config base
