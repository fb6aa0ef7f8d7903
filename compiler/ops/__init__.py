"""The op table: what each op infers, evaluates, differentiates to and lowers to."""
