"""Every error that Ichor raises on purpose, as one tree.

Two branches decide what happens next: `TransientError` comes again, `PermanentError` does not qualify. Where an error
class has a docstring of its own, that docstring is its default message; facts travel as attributes. Only task and
listener edges catch broadly, through one table from type to disposition.
"""

from __future__ import annotations


class IchorError(Exception):
    """Something went wrong in Ichor."""

    code = "error"
    """Stable machine-readable name, used in `result.json`, events and metrics."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message if message is not None else (type(self).__doc__ or "").strip())


class TransientError(IchorError):
    """Try again later."""

    code = "transient"


class PermanentError(IchorError):
    """Trying again would not help."""

    code = "permanent"


class SettingsError(PermanentError):
    """The settings are not usable."""

    code = "settings"


class StartError(PermanentError):
    """The node cannot start."""

    code = "start"


class NotAnalysable(PermanentError):
    """The study or series cannot be analysed."""

    code = "not_analysable"

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class NotDicom(PermanentError):
    """The data are not DICOM."""

    code = "not_dicom"


class BadHeader(PermanentError):
    """The header is damaged, too large, or lacks what is needed to file the instance."""

    code = "bad_header"


class GeometryError(PermanentError):
    """Result and source do not lie in the same place; nothing is written."""

    code = "geometry"


class ModelError(PermanentError):
    """The model cannot be used."""

    code = "model"


class ModelNotFound(ModelError):
    """There is no such model."""

    code = "model_not_found"


class ModelCorrupted(ModelError):
    """A weight file does not have the SHA-256 that the model's spec records."""

    code = "model_corrupted"


class StoreFull(TransientError):
    """The disk is too full to take in more."""

    code = "disk_full"


class LeaseLost(TransientError):
    """Another worker holds the job now."""

    code = "lease_lost"


class PeerError(IchorError):
    """A peer did not do what was asked of it."""

    code = "peer"


class PeerUnreachable(PeerError, TransientError):
    """The peer does not answer."""

    code = "peer_unreachable"


class PeerRejected(PeerError, PermanentError):
    """The peer refused for good."""

    code = "peer_rejected"


class PeerOffersNoQuery(PeerRejected):
    """The peer does not offer the query that would prove arrival."""

    code = "peer_no_query"


class PeerOffersNoCommitment(PeerRejected):
    """The peer does not offer storage commitment."""

    code = "peer_no_commitment"


class QueueUnreachable(TransientError):
    """Redis does not answer."""

    code = "queue_unreachable"


class CatalogueUnreachable(TransientError):
    """The catalogue does not answer."""

    code = "catalogue_unreachable"


class StudyNotFound(PermanentError):
    """The catalogue knows no such study."""

    code = "study_not_found"


class RowNotFound(PermanentError):
    """The catalogue has no such entry."""

    code = "row_not_found"


class NotResendable(PermanentError):
    """The destination lacks nothing of the delivery, or a newer result has replaced what it carries."""

    code = "not_resendable"


class NotAuthenticated(PermanentError):
    """Name or password is wrong."""

    code = "not_authenticated"


class NoUsers(PermanentError):
    """Nobody may do this here: the settings name no users."""

    code = "no_users"


class TooManyTries(TransientError):
    """There were too many wrong passwords; wait a minute."""

    code = "too_many_tries"


class BadUid(PermanentError):
    """The UID is not usable: it has characters or a length that PS3.5 9.1 does not allow."""

    code = "bad_uid"
