"""The two ways a command can end badly, as exceptions that carry one finished sentence for the user."""


class UserError(Exception):
    """Bad input or bad configuration: exit code 2. The message says what is wrong, where, and what to do."""


class RunFailed(Exception):
    """A run that started and could not finish: exit code 1. The message says what happened, where, and what to do."""
