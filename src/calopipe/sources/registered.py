"""Public datasets that can be fetched by name, with the role of each file and the checksum its publisher states."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from calopipe.errors import ConfigError, nearest

TRAIN = "train"
REFERENCE = "reference"
ROLES = (TRAIN, REFERENCE)
#: the CaloChallenge's name of a set -> geometry and registered dataset of the same name
SETS: Mapping[str, str] = {
    "1-photons": "calochallenge1_photons",
    "1-pions": "calochallenge1_pions",
    "2": "calochallenge2",
    "3": "calochallenge3",
}


@dataclass(frozen=True)
class RemoteFile:
    """One downloadable file.

    Args:
        name: file name in the cache, as published.
        url: where it is.
        checksum: "md5:..." or "sha256:..." as published; None when the publisher states none.
        role: "train" (to learn from) or "reference" (the independent sample for the evaluation).
        n_showers: number of showers it must hold; checked where there is no checksum.
    """

    name: str
    url: str
    checksum: str | None = None
    role: str = TRAIN
    n_showers: int | None = None


@dataclass(frozen=True)
class RemoteDataset:
    """A published dataset: its files, geometry and where it is described."""

    name: str
    geometry: str
    page: str
    files: tuple[RemoteFile, ...]

    def of_role(self, role: str) -> tuple[RemoteFile, ...]:
        """Files of one role; ConfigError when the dataset has none of it or the role is unknown."""
        files = tuple(file for file in self.files if file.role == role)
        if not files:
            have = ", ".join(sorted({file.role for file in self.files}))
            raise ConfigError(f"dataset '{self.name}' has no files of role '{role}'; it has: {have}")
        return files


def _zenodo(name: str, geometry: str, record: int, files: list[tuple[str, str, str]]) -> RemoteDataset:
    page = f"https://zenodo.org/records/{record}"
    remote = (RemoteFile(n, f"{page}/files/{n}?download=1", f"md5:{md5}", role) for n, md5, role in files)
    return RemoteDataset(name, geometry, page, tuple(remote))


def _calogan(particle: str, file_id: str) -> RemoteDataset:
    """CaloGAN files (arXiv:1712.10321): 100 000 showers each; Mendeley Data publishes no checksum with them."""
    base = "https://data.mendeley.com/public-files/datasets/pvn3xc3wy5/files"
    file = RemoteFile(f"{particle}.hdf5", f"{base}/{file_id}/file_downloaded", n_showers=100_000)
    page = "https://data.mendeley.com/datasets/pvn3xc3wy5/1"
    return RemoteDataset(f"calogan_{particle}", "calogan", page, (file,))


#: every dataset by name. CaloChallenge (arXiv:2410.21611): one half of the files trains, the other is the reference
REGISTERED: dict[str, RemoteDataset] = {
    dataset.name: dataset
    for dataset in (
        _calogan("gamma", "1141aa57-edc0-477a-a32c-a38e5934b453"),
        _calogan("eplus", "82030895-c680-432d-ac68-a6f2c8ed2641"),
        _calogan("piplus", "292fa8da-1877-482b-9fd3-df237d43b142"),
        _zenodo(
            "calochallenge1_photons",
            "calochallenge1_photons",
            8099322,
            [
                ("dataset_1_photons_1.hdf5", "005d2adeda7db034b388112661265656", TRAIN),
                ("dataset_1_photons_2.hdf5", "4767715ed56e99565fd9c67340661e70", REFERENCE),
            ],
        ),
        _zenodo(
            "calochallenge1_pions",
            "calochallenge1_pions",
            8099322,
            [
                ("dataset_1_pions_1.hdf5", "6a5f52722064a1bcd8a0bc002f16515d", TRAIN),
                ("dataset_1_pions_2.hdf5", "fee7457b40127bc23c8ab909e2638ca0", REFERENCE),
            ],
        ),
        _zenodo(
            "calochallenge2",
            "calochallenge2",
            6366271,
            [
                ("dataset_2_1.hdf5", "e590333e9a2da51b258288d74bd8357a", TRAIN),
                ("dataset_2_2.hdf5", "7a56fd68aa53ded37c2ac445694d9736", REFERENCE),
            ],
        ),
        _zenodo(
            "calochallenge3",
            "calochallenge3",
            6366324,
            [
                ("dataset_3_1.hdf5", "d33f03418aa311b0965452fcbef1ff87", TRAIN),
                ("dataset_3_2.hdf5", "911dec2c40aafa64a07b7450b80881bf", TRAIN),
                ("dataset_3_3.hdf5", "5ea62f6831a1821bb5035fafc9f030e8", REFERENCE),
                ("dataset_3_4.hdf5", "5e8d82e6a6c28c6914a3b602a1cfa299", REFERENCE),
            ],
        ),
    )
}


def is_official_reference(name: str, md5: Collection[str]) -> bool:
    """Whether files with these MD5 checksums are the published reference of a registered dataset: all of it, no more."""
    official = {file.checksum.removeprefix("md5:") for file in registered(name).of_role(REFERENCE) if file.checksum}
    return len(md5) == len(official) and set(md5) == official


def registered(name: str) -> RemoteDataset:
    """Return a dataset by name. Raises ConfigError with the nearest name when there is none."""
    if name not in REGISTERED:
        known = ", ".join(sorted(REGISTERED))
        raise ConfigError(f"unknown dataset '{name}'{nearest(name, REGISTERED)}; registered: {known}")
    return REGISTERED[name]
