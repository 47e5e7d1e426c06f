"""The manifests in deploy/kubernetes are valid for three versions of Kubernetes, by the schemas of the package
kubernetes-validate, which needs no cluster and no network."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.kubernetes import manifests
from tests.support.node_env import missing

VERSIONS = ("1.29", "1.33", "1.37")
OTHER_SCHEMAS = ("kustomize.config.k8s.io/", "keda.sh/")


@pytest.mark.matrix
@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid(version: str) -> None:
    validator = _validator()
    checked = [one for _, one in manifests() if not one["apiVersion"].startswith(OTHER_SCHEMAS)]
    assert len(checked) > 12
    for one in checked:
        validator.validate(one, version, strict=True)


@pytest.mark.matrix
def test_a_mistyped_field_is_found() -> None:
    validator = _validator()
    (budget, *_) = [one for _, one in manifests() if one["kind"] == "PodDisruptionBudget"]
    with pytest.raises(validator.ValidationError):
        validator.validate({**budget, "spec": {**budget["spec"], "maxUnavailible": 1}}, VERSIONS[0], strict=True)


def _validator() -> Any:
    try:
        import kubernetes_validate
    except ImportError:
        missing("kubernetes-validate is not installed: pip install kubernetes-validate==1.37.0")
    return kubernetes_validate
