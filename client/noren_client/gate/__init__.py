"""The gate at a company: decisions sealed before anything is evaluated, scores looked at one by one."""
