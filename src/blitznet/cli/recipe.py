"""blitznet recipe."""

import typer

from blitznet.cli.app import app, print_line


@app.command()
def recipe(
    name: str | None = typer.Argument(
        None,
        metavar="NAME",
        help="Recipe, experiment, or YAML file.",
        show_default="list the names",
    ),
) -> None:
    """Print a recipe as YAML, to edit and pass to `blitznet train`; without NAME, list all."""
    from blitznet.paper.tables import find_recipe, read_experiments
    from blitznet.training.recipe import RECIPES, describe_recipe, summarize_recipe

    if name is not None:
        typer.echo(describe_recipe(find_recipe(name)), nl=False)
        return
    for one in RECIPES.values():
        print_line(summarize_recipe(one))
    print_line(f"Experiments of the paper's tables: {', '.join(read_experiments())}")
