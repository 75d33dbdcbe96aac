"""`ichor models`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from console.cli.display import out, print_json, print_table, progress_bar
from console.cli.options import ConfigOption, JsonOption, load
from models.registry import Registry, default_registry
from models.spec import ModelSpec

app = typer.Typer(help="List, show, fetch, add, export and remove models.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.")]


def registry_of(config: Path | None) -> Registry:
    """Open the registry of the configured node."""
    return default_registry(load(config).resolved_models_dir, os.environ)


@app.command("list")
def list_models(*, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the models that Ichor knows."""
    registry = registry_of(config)
    specs = [(registry.spec(name), registry.available(name)) for name in registry.names()]
    if as_json:
        entries = [
            {"name": spec.name, "version": spec.version, "title": spec.title, "available": here, "digest": spec.digest}
            for spec, here in specs
        ]
        print_json(entries)
        return
    rows = [
        (spec.name, spec.version, str(len(spec.files)), "yes" if here else "no", spec.licence, spec.title)
        for spec, here in specs
    ]
    print_table("", ("Name", "Version", "#Members", "Weights here", "Licence", "What it is"), rows)


def described(spec: ModelSpec, *, available: bool) -> dict[str, object]:
    """Give what a spec says as plain values."""
    return {
        "name": spec.name,
        "version": spec.version,
        "title": spec.title,
        "intended_use": spec.intended_use,
        "licence": spec.licence,
        "research_only": spec.research_only,
        "digest": spec.digest,
        "available": available,
        "spacing_zyx_mm": list(spec.spacing_zyx_mm),
        "labels": [
            {"name": label.name, "title": label.title, "haemorrhage": label.haemorrhage} for label in spec.labels
        ],
        "files": [{"name": file.name, "sha256": file.sha256, "size_bytes": file.size_bytes} for file in spec.files],
    }


@app.command()
def show(name: NameArgument, *, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show what a model marks, needs and may be used for."""
    registry = registry_of(config)
    spec = registry.spec(name)
    here = registry.available(name)
    if as_json:
        print_json(described(spec, available=here))
        return
    place = str(registry.locate(name)) if here else f"not on this machine; `ichor models pull {name}`"
    for line in (
        f"{spec.name} {spec.version}: {spec.title}",
        f"Use: {spec.intended_use}",
        f"Licence: {spec.licence}",
        f"Digest: {spec.digest}",
        f"Weights: {place}",
    ):
        out().print(line, markup=False)
    rows = [(label.name, label.title, "yes" if label.haemorrhage else "no") for label in spec.labels]
    print_table("", ("Label", "Meaning", "Counts as haemorrhage"), rows)


@app.command()
def pull(
    name: NameArgument,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Copy from this folder instead of downloading."),
    ] = None,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Fetch a model's weights and check their SHA-256."""
    registry = registry_of(config)
    with progress_bar(f"Fetching {name}") as on_progress:
        place = registry.pull(name, source=source, on_progress=on_progress)
    if as_json:
        print_json({"name": name, "folder": place, "digest": registry.spec(name).digest})
    else:
        typer.echo(f"{name} is in {place}.")


@app.command()
def add(
    path: Annotated[Path, typer.Argument(metavar="DIR|ZIP", help="MONAI bundle, nnU-Net v2 results, or .pt2 folder.")],
    *,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What to call it.")] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Allow a file whose loading can run code (.pt2); this is recorded.")
    ] = False,
    drop_expressions: Annotated[
        bool, typer.Option("--drop-expressions", help="Leave out a bundle's expressions where they are not needed.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Add a model of your own: nothing in it is run before you allow it."""
    registry = registry_of(config)
    # Delayed: reading weights needs torch, which takes seconds to import; the other commands do without.
    from models.adding.install import Consent, add_model

    consent = Consent(code=trust_code, drop_expressions=drop_expressions)
    spec = add_model(registry, path, name=name, consent=consent)
    if as_json:
        print_json(described(spec, available=registry.available(spec.name)))
        return
    labels = ", ".join(f"{label.name}{'' if label.haemorrhage else ' (not haemorrhage)'}" for label in spec.labels)
    typer.echo(f"{spec.name} is added: {spec.source}; marks {labels}. Digest {spec.digest}.")


@app.command()
def export(
    name: NameArgument,
    out_dir: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; must not exist yet.")],
    *,
    member: Annotated[
        int | None, typer.Option("--member", metavar="N", min=1, help="Which member; a bundle holds one network.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write a model as a MONAI bundle, which `ichor models add` reads back to the same labels."""
    registry = registry_of(config)
    # Delayed for the same reason.
    from models.adding.outgoing_bundle import write_bundle

    spec = write_bundle(registry, name, out_dir, member=member)
    if as_json:
        print_json({"name": spec.name, "folder": out_dir, "licence": spec.licence})
    else:
        typer.echo(f"{spec.name} is in {out_dir}. Terms: {spec.licence}.")


@app.command()
def remove(name: NameArgument, *, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Remove a model that was added."""
    registry = registry_of(config)
    # Delayed for the same reason.
    from models.adding.install import remove_model

    remove_model(registry, name)
    if as_json:
        print_json({"name": name, "removed": True})
    else:
        typer.echo(f"{name} is removed.")
