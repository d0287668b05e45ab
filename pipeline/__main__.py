"""`python -m pipeline` is the `onnuri` command: the pipeline's own commands, and those of the packages that build on it."""

from pipeline.cli import app, main
from tokenizer.commands import app as tokenizer_app
from tokenizer.commands import trace
from training.commands import app as training_app

app.add_typer(tokenizer_app, name="tokenizer", rich_help_panel="From corpus to model")
app.add_typer(training_app, name="train", rich_help_panel="From corpus to model")
app.command(rich_help_panel="Look at a run")(trace)

if __name__ == "__main__":
    main()
