"""Miniatures of the data sets, laid out as the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.models.evaluation.mask_files import AFFINE, labels, write_nifti

HU = np.full((24, 20, 6), 35, dtype=np.int16)


def physionet(folder: Path) -> Path:
    """Two scans with masks of 0/255, one without a mask, one with a mask of another shape; a table with empty lines."""
    for name in ("049", "050", "051", "052"):
        write_nifti(folder / "ct_scans" / f"{name}.nii", HU)
        write_nifti(folder / "masks" / f"{name}.nii", labels((2, 255)))
    (folder / "masks" / "051.nii").unlink()
    write_nifti(folder / "masks" / "052.nii", labels((2, 255), shape=(24, 20, 5)))
    kinds = "Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,No_Hemorrhage,Fracture_Yes_No"
    rows = [f"PatientNumber,SliceNumber,{kinds}", "49,1,0,0,0,0,0,1,0", "49,2,0,1,0,0,1,0,", "60,1,0,0,0,0,0,1,0", ","]
    (folder / "hemorrhage_diagnosis_raw_ct.csv").write_text("\n".join(rows))
    return folder


def bhsd(folder: Path) -> Path:
    """Two scans of one patient, one with a header that lies elsewhere, and a scan whose name states nobody."""
    moved = AFFINE.copy()
    moved[:3, 3] = 40
    for part, name, affine in (("Tr", "ID_aa_ID_01", AFFINE), ("Ts", "ID_aa_ID_02", moved), ("Tr", "scan7", AFFINE)):
        write_nifti(folder / f"images{part}" / f"{name}.nii.gz", HU)
        write_nifti(folder / f"labels{part}" / f"{name}.nii.gz", labels((2, 5)), affine)
    (folder / "dataset.json").write_text("{}")
    return folder


def mbh_seg(folder: Path) -> Path:
    """One scan by three raters, one with a consensus, and two scans by exam of which one is not there."""
    segmented = folder / "MBH_Train_2025_voxel-label"
    for name in ("ID_aa_ID_01", "ID_bb_ID_02"):
        write_nifti(segmented / name / "image.nii.gz", HU)
    for number in (1, 2, 10):
        write_nifti(segmented / "ID_aa_ID_01" / f"label_annot_{number}.nii.gz", labels((2, 1)))
    write_nifti(segmented / "ID_bb_ID_02" / "label_consensus_staple.nii.gz", labels((2, 3)))
    labelled = folder / "MBH_Train_2025_case-label"
    write_nifti(labelled / "ID_cc_ID_03.nii.gz", HU)
    head = "patientID_studyID,any,epidural,intraparenchymal,intraventricular,subarachnoid,subdural"
    rows = [head, "ID_cc_ID_03,1,0,1,0,0,1", "ID_dd_ID_04,0,0,0,0,0,0"]
    (labelled / "case-wise_annotation.csv").write_text("\n".join(rows))
    return folder


def seg_cq500(folder: Path) -> Path:
    """A scan with a tilted gantry, and one without a mask."""
    volumes = folder / "data" / "volumes"
    tilted = AFFINE.copy()
    tilted[1, 2] = 1.7
    write_nifti(volumes / "CQ500-CT-7" / "CT.nii", HU, tilted)
    write_nifti(volumes / "CQ500-CT-7" / "ICH_mask.nii.gz", labels((2, 1)), tilted)
    write_nifti(volumes / "CQ500-CT-7" / "brain.nii.gz", labels((0, 1)), tilted)
    write_nifti(volumes / "CQ500-CT-8" / "CT.nii", HU)
    (volumes / "info.csv").write_text("name,IPH\nCQ500-CT-7,1\n")
    return folder


def instance2022(folder: Path) -> Path:
    """Two scans with masks below `train_2`."""
    for name in ("001", "002"):
        write_nifti(folder / "train_2" / "data" / f"{name}.nii.gz", HU)
        write_nifti(folder / "train_2" / "label" / f"{name}.nii.gz", labels((2, 1)))
    return folder


def ct_image(path: Path, uid: str, *, z_mm: float = 0.0, patient: str = "P", study: str = "1.2") -> Path:
    """Write a CT image of a few pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, uid
    dataset.PatientID, dataset.Modality = patient, "CT"
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, z_mm], [1, 0, 0, 0, 1, 0]
    dataset.SliceThickness = 5.0
    path.parent.mkdir(parents=True, exist_ok=True)
    with config.disable_value_validation():  # RSNA's are none that the standard allows
        dataset.StudyInstanceUID = study
        dataset.save_as(path, enforce_file_format=True)
    return path


def cq500(folder: Path) -> Path:
    """A scan with a plain, a contrast and a short series, one with nothing fit, one that was read but is not there."""
    study = folder / "CQ500CT7 CQ500CT7" / "Unknown Study"
    for series, count in (("CT Plain", 16), ("CT POST CONTRAST THIN", 40), ("CT 2.55mm", 3)):
        for number in range(count):
            ct_image(study / series / f"CT{number:06d}.dcm", f"1.7.{len(series)}.{number + 1}", z_mm=number)
    ct_image(folder / "CQ500CT8 CQ500CT8" / "Unknown Study" / "CT Plain" / "CT000000.dcm", "1.8.1")
    kinds = ["ICH", "IPH", "IVH", "SDH", "EDH", "SAH"]
    head = ["name", "Category", *(f"R{reader}:{kind}" for reader in (1, 2, 3) for kind in kinds)]
    rows = [head, ["CQ500-CT-7", "B1", *"110000", *"110000", *"000100"], ["CQ500-CT-9", "B1", *"000000" * 3]]
    (folder / "reads.csv").write_text("\n".join(",".join(row) for row in rows))
    return folder


def bhx(folder: Path) -> Path:
    """Boxes on CQ500's first scan, one beyond the image's edge, one twice, one broken; and an extrapolated one."""
    head = "SOPInstanceUID,SeriesInstanceUID,StudyInstanceUID,data,labelName,labelType"
    box = "\"{'x': 500.0, 'y': 10.0, 'width': 30.0, 'height': 20.0}\""
    rows = [head, f"1.7.8.1,1.7,1.2,{box},Subdural,annot", f"1.7.8.1,1.7,1.2,{box},Subdural,annot"]
    rows += ["1.7.8.2,1.7,1.2,\"__import__('os')\",Subdural,annot", f"9.9,9,9.1,{box},Chronic,annot"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "1_Initial_Manual_Labeling.csv").write_text("\n".join(rows))
    more = [head, f"1.7.8.3,1.7,1.2,{box},Epidural,extrapolated"]
    (folder / "2_Extrapolation_to_All_Series.csv").write_text("\n".join(more))
    return folder


def rsna2019(folder: Path) -> Path:
    """Three images of one study out of order, the broken one, lines that come twice, an image that is not there."""
    images = folder / "stage_2_train"
    for name, z_mm in (("ID_c3", 0.0), ("ID_a1", 10.0), ("ID_b2", 5.0)):
        ct_image(images / f"{name}.dcm", f"1.9.{int(z_mm) + 1}", z_mm=z_mm, patient="ID_aa", study="ID_01")
    kinds = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
    rows = ["ID,Label"]
    for name in ("ID_a1", "ID_b2", "ID_c3", "ID_6431af929", "ID_gone", "ID_a1"):
        rows += [f"{name}_{kind},{int(name == 'ID_a1' and kind in ('subdural', 'any'))}" for kind in kinds]
    (folder / "stage_2_train.csv").write_text("\n".join(rows))
    return folder


def plain(folder: Path) -> Path:
    """NIfTI pairs, a mask without a scan, and a folder with DICOM files and a truth."""
    for name in ("p1__a", "p1__b"):
        write_nifti(folder / "images" / f"{name}.nii.gz", HU)
        write_nifti(folder / "labels" / f"{name}.nii", labels((2, 1)))
    write_nifti(folder / "labels" / "stray.nii", labels((2, 1)))
    ct_image(folder / "study" / "dicom" / "0001.dcm", "1.2.3")
    write_nifti(folder / "study" / "truth.nii.gz", labels((2, 1)))
    return folder
