"""Clean documents one by one: Unicode repair, language, quality signals, rules, PII."""
