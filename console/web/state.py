"""What routes are given: the settings, the catalogue, the counters and the users of the running application."""

from typing import Annotated, cast

from fastapi import Depends, Request

from console.users import Users
from ichor.catalogue.engine import Catalogue
from ichor.metrics import NodeMetrics
from ichor.settings import Settings


def settings_of(request: Request) -> Settings:
    """Give the settings that the application was built with."""
    return cast("Settings", request.app.state.settings)


def catalogue_of(request: Request) -> Catalogue:
    """Give the open catalogue."""
    return cast("Catalogue", request.app.state.catalogue)


def metrics_of(request: Request) -> NodeMetrics:
    """Give what this web server counts."""
    return cast("NodeMetrics", request.app.state.metrics)


def users_of(request: Request) -> Users:
    """Give who may ask for a change."""
    return cast("Users", request.app.state.users)


SettingsOf = Annotated[Settings, Depends(settings_of)]
CatalogueOf = Annotated[Catalogue, Depends(catalogue_of)]
MetricsOf = Annotated[NodeMetrics, Depends(metrics_of)]
UsersOf = Annotated[Users, Depends(users_of)]
