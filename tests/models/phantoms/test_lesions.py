from __future__ import annotations

import pytest

from models.phantoms.lesions import LesionRequest, PhantomInvalid, parse_lesion


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("iph:15", LesionRequest(kind="iph", volume_ml=15.0)),
        ("sdh:20:left", LesionRequest(kind="sdh", volume_ml=20.0, side="left")),
        ("iph:15:right:lobulated", LesionRequest(kind="iph", volume_ml=15.0, side="right", lobulated=True)),
        ("iph:15:oedema=20", LesionRequest(kind="iph", volume_ml=15.0, oedema_ml=20.0)),
        (
            " IPH:0.5:lobulated:LEFT:oedema=1.5 ",
            LesionRequest(kind="iph", volume_ml=0.5, side="left", lobulated=True, oedema_ml=1.5),
        ),
    ],
)
def test_command_line_form(text: str, request_: LesionRequest) -> None:
    """A lesion is read from its command-line form, whatever the order of what follows the volume."""
    assert parse_lesion(text) == request_


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("iph", "kind:millilitres"),
        ("", "kind:millilitres"),
        ("tumour:15", "no lesion kind 'tumour'"),
        ("iph:much", "'much' is no number"),
        ("iph:nan", "'nan' is no number"),
        ("iph:0", "more than 0"),
        ("iph:-3", "more than 0"),
        ("iph:900", "at most 150 mL"),
        ("iph:15:top", "'top' is none of"),
        ("sdh:15:oedema=3", "round an iph only"),
        ("iph:15:oedema=x", "'x' is no number"),
    ],
)
def test_bad_form_is_refused(text: str, said: str) -> None:
    """What cannot be read is refused in a sentence that names the fault."""
    with pytest.raises(PhantomInvalid, match=said):
        parse_lesion(text)
