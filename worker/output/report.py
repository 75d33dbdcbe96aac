"""The content that the structured reports share: a device as observer, the sources, the result in words.

The root says the headline and every warning in words, so that a viewer that shows nothing but text still shows them.
With measurements it is TID 1500; without any it is words alone, for OHIF 3.12 and 3.13 show an error in place of a
TID 1500 report that holds no measurement, and the text of any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from highdicom import UID
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    ObservationContext,
    ObserverContext,
    TextContentItem,
    TrackingIdentifier,
)
from highdicom.sr.coding import CodedConcept
from pydicom import DataElement, Dataset

from ichor import __version__
from ichor.identity import derive_uid
from worker.output import codes, words
from worker.output.algorithm import algorithm_facts
from worker.output.instance import MANUFACTURER, MODEL_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from highdicom.sr.value_types import ContentItem

    from worker.findings import Finding
    from worker.output.context import WriteContext

# CID 121005 Observer Type
OBSERVER_IS_DEVICE = CodedConcept("121007", "DCM", "Device")


def tracking(ctx: WriteContext, finding: Finding) -> TrackingIdentifier:
    """Name a finding as the segmentation names it (TID 4108)."""
    return TrackingIdentifier(uid=ctx.tracking_uid(finding), identifier=ctx.tracking_id(finding))


def site(ctx: WriteContext, finding: Finding) -> FindingSite:
    """Give a finding's region, with the side where it has a code."""
    return FindingSite(codes.concept(ctx.label_of(finding).region), laterality=codes.SIDES.get(finding.laterality))


def algorithm(ctx: WriteContext) -> AlgorithmIdentification:
    """Name the model that spoke, with its digest (TID 4019)."""
    facts = algorithm_facts(ctx)
    return AlgorithmIdentification(
        name=facts.name,
        version=facts.version,
        family=codes.ARTIFICIAL_INTELLIGENCE,
        parameters=[f"{name}={value}" for name, value in facts.parameters.items()],
    )


def comment(text: str) -> TextContentItem:
    """Return a comment that stands under a container."""
    return TextContentItem(name=codes.COMMENT, value=words.plain(text), relationship_type="CONTAINS")


def measurement_root(ctx: WriteContext, groups: Sequence[ContentSequence]) -> Dataset:
    """Put measurement groups under a TID 1500 root."""
    measurements = ContainerContentItem(name=codes.IMAGING_MEASUREMENTS, relationship_type="CONTAINS")
    measurements.ContentSequence = ContentSequence()
    for group in groups:
        measurements.ContentSequence.extend(group)
    root = ContainerContentItem(name=codes.MEASUREMENT_REPORT, template_id="1500")
    root.ContentSequence = _content(_image_library(ctx), measurements, _presence(ctx), *map(comment, _texts(ctx)))
    return root


def text_root(ctx: WriteContext) -> Dataset:
    """Say the result in words, under a title of our own: there is nothing to measure."""
    root = ContainerContentItem(name=codes.ALGORITHM_RESULT)
    root.ContentSequence = _content(*map(comment, _texts(ctx)), _presence(ctx))
    return root


def name_private_scheme(dataset: Dataset) -> None:
    """Say whose codes those of the private scheme are (PS3.3 C.12.1.1.7)."""
    scheme = Dataset()
    scheme.CodingSchemeDesignator = codes.PRIVATE_SCHEME
    scheme.CodingSchemeName = codes.PRIVATE_SCHEME_NAME
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    dataset.CodingSchemeIdentificationSequence = [scheme]


def _content(*items: ContentItem) -> ContentSequence:
    """Put language, observer and procedure before what a root contains."""
    content = ContentSequence()
    content.append(CodeContentItem(name=codes.LANGUAGE, value=codes.ENGLISH, relationship_type="HAS CONCEPT MOD"))
    content.extend(ObservationContext(observer_device_context=observer()))
    content.append(
        CodeContentItem(name=codes.PROCEDURE_REPORTED, value=codes.CT_ANY_REGION, relationship_type="HAS CONCEPT MOD")
    )
    content.extend(items)
    return content


def observer() -> ObserverContext:
    """Name the device (TID 1004); an algorithm is no person."""
    device = DeviceObserverIdentifyingAttributes(
        uid=UID(derive_uid("device", MANUFACTURER, __version__)),
        name=MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
        serial_number=__version__,
    )
    return ObserverContext(observer_type=OBSERVER_IS_DEVICE, observer_identifying_attributes=device)


def _image_library(ctx: WriteContext) -> ContainerContentItem:
    """List the source images (TID 1600); OHIF cannot open a report without this container."""
    group = ContainerContentItem(name=codes.IMAGE_LIBRARY_GROUP, relationship_type="CONTAINS")
    # As plain data sets: highdicom's own items cost a millisecond each, and there may be hundreds.
    group["ContentSequence"] = DataElement("ContentSequence", "SQ", [_image(header) for header in ctx.source])
    library = ContainerContentItem(name=codes.IMAGE_LIBRARY, relationship_type="CONTAINS")
    library.ContentSequence = ContentSequence([group])
    return library


def _image(header: Dataset) -> Dataset:
    """Refer to one source image as a content item (PS3.3 C.18.4)."""
    reference, item = Dataset(), Dataset()
    reference.ReferencedSOPClassUID = header.SOPClassUID
    reference.ReferencedSOPInstanceUID = header.SOPInstanceUID
    item.ReferencedSOPSequence = [reference]
    item.RelationshipType, item.ValueType = "CONTAINS", "IMAGE"
    item.ConceptNameCodeSequence = [codes.SOURCE_IMAGE]
    return item


def _presence(ctx: WriteContext) -> ContainerContentItem:
    """Say whether haemorrhage is present; that nothing was marked leaves it indeterminate, never absent."""
    suspected = ctx.result.conclusion == "suspected"
    container = ContainerContentItem(name=codes.QUALITATIVE_EVALUATIONS, relationship_type="CONTAINS")
    container.ContentSequence = ContentSequence(
        [
            CodeContentItem(
                name=codes.INTRACRANIAL_HAEMORRHAGE,
                value=codes.PRESENT if suspected else codes.INDETERMINATE,
                relationship_type="CONTAINS",
            )
        ]
    )
    return container


def _texts(ctx: WriteContext) -> list[str]:
    replaced = words.replaced(ctx.result)
    return [
        words.headline(ctx.result),
        *([] if replaced is None else [replaced]),
        *(f"Warning: {warning.text}" for warning in ctx.result.warnings),
        words.RESEARCH_USE,
    ]
