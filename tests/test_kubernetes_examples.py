"""The manifests of examples/kubernetes: their fields, and the command lines in them.

Where the SDKs of Kubeflow are installed, the manifests are also taken through their classes, which
are generated from the schemas of the CRDs:
``pip install kubeflow-trainer-api==2.3.0 kubeflow-training==1.9.4``.
"""

import json

import pytest
import yaml
from helpers import ROOT
from torch.distributed import run as torchrun

from casvit_mm.commands import train

FOLDER = ROOT / 'examples/kubernetes'
MANIFESTS = {
    (path.stem, manifest['kind']): manifest
    for path in sorted(FOLDER.glob('*.yaml'))
    for manifest in yaml.safe_load_all(path.read_text())
}
# What the schemas know of what we use: a dict has no other fields, those with a star are required.
NAME = {'name*': str}
POD = {
    'restartPolicy': str,
    'terminationGracePeriodSeconds': int,
    'volumes': [
        {
            'name*': str,
            'persistentVolumeClaim': {'claimName*': str},
            'emptyDir': {'medium': str, 'sizeLimit': str},
        }
    ],
}
RESOURCES = {'requests': {...: str}, 'limits': {...: str}}
CONTAINER = {
    'name*': str,
    'image': str,
    'command': [str],
    'args': [str],
    'env': [{'name*': str, 'value': str}],
    'resources': RESOURCES,
    'volumeMounts': [{'name*': str, 'mountPath*': str}],
}
POD['containers*'] = [CONTAINER]
METADATA = {'name*': str, 'labels': {...: str}}
JOB = {
    'spec*': {'backoffLimit': int, 'template*': {'spec': POD}},
    'metadata': {'labels': {...: str}},
}
JOB_SET = {
    'failurePolicy': {'maxRestarts': int},
    'replicatedJobs': [{'name*': str, 'template*': JOB}],
}
SCHEMAS = {
    'TrainingRuntime': {
        'mlPolicy': {'numNodes': int, 'torch': {}},
        'template*': {'spec': JOB_SET},
    },
    'TrainJob': {
        'runtimeRef*': {'apiGroup': str, 'kind': str, 'name*': str},
        'trainer': {
            'image': str,
            'numNodes': int,
            'numProcPerNode': int,
            'resourcesPerNode': RESOURCES,
            **{key: CONTAINER[key] for key in ('command', 'args', 'env')},
        },
    },
    'PyTorchJob': {
        'elasticPolicy': {
            'rdzvBackend': str,
            'minReplicas': int,
            'maxReplicas': int,
            'maxRestarts': int,
        },
        'nprocPerNode': str,
        'runPolicy': {'cleanPodPolicy': str},
        'pytorchReplicaSpecs*': {
            'Worker': {'replicas': int, 'restartPolicy': str, 'template': {'spec': POD}}
        },
    },
}
VERSIONS = {
    'TrainingRuntime': 'trainer.kubeflow.org/v1alpha1',
    'TrainJob': 'trainer.kubeflow.org/v1alpha1',
    'PyTorchJob': 'kubeflow.org/v1',
}


def check(value, schema, where):
    """Compare a value with a schema of the kind above."""
    if isinstance(schema, type):
        assert type(value) is schema, f'{where}: {value!r} is no {schema.__name__}'
    elif isinstance(schema, list):
        assert isinstance(value, list), where
        for i, each in enumerate(value):
            check(each, schema[0], f'{where}[{i}]')
    elif ... in schema:
        for key, each in value.items():
            check(each, schema[...], f'{where}.{key}')
    else:
        fields = {key.rstrip('*'): each for key, each in schema.items()}
        required = {key[:-1] for key in schema if key.endswith('*')}
        assert required <= set(value), f'{where} lacks {required - set(value)}'
        for key, each in value.items():
            assert key in fields, f'{where}.{key} is no field'
            check(each, fields[key], f'{where}.{key}')


@pytest.mark.parametrize('manifest', MANIFESTS.values(), ids=[kind for _, kind in MANIFESTS])
def test_fields_are_those_of_the_schemas(manifest):
    kind = manifest['kind']
    check(
        manifest,
        {'apiVersion*': str, 'kind*': str, 'metadata*': METADATA, 'spec*': SCHEMAS[kind]},
        kind,
    )
    assert manifest['apiVersion'] == VERSIONS[kind]


def test_what_refers_to_a_name_finds_it():
    runtime = MANIFESTS['trainjob', 'TrainingRuntime']
    job = MANIFESTS['trainjob', 'TrainJob']['spec']
    assert job['runtimeRef']['name'] == runtime['metadata']['name']
    assert job['trainer']['numNodes'] == runtime['spec']['mlPolicy']['numNodes']
    (node,) = runtime['spec']['template']['spec']['replicatedJobs']
    pods = [node['template']['spec']['template']['spec']]
    pods.append(
        MANIFESTS['pytorchjob', 'PyTorchJob']['spec']['pytorchReplicaSpecs']['Worker']['template'][
            'spec'
        ]
    )
    for pod in pods:
        mounted = {mount['name'] for each in pod['containers'] for mount in each['volumeMounts']}
        assert mounted == {volume['name'] for volume in pod['volumes']}


def test_the_command_lines_are_ones_of_launcher_and_training(monkeypatch):
    from argparse import ArgumentParser

    worker = MANIFESTS['pytorchjob', 'PyTorchJob']['spec']['pytorchReplicaSpecs']['Worker']
    for each in (
        MANIFESTS['trainjob', 'TrainJob']['spec']['trainer'],
        worker['template']['spec']['containers'][0],
    ):
        assert each['command'] == ['python', '-m', 'casvit_mm.launch']
        args = torchrun.parse_args(each['args'])
        assert (args.module, args.training_script) == (True, 'casvit_mm')
        job, *rest = args.training_script_args
        parser = ArgumentParser()
        train.add_arguments(parser)
        options = parser.parse_args(rest)
        assert (job, options.launcher, options.save_every) == ('train', 'pytorch', 20)
        config = options.config.removeprefix('casvit_mm::')
        assert (ROOT / 'configs' / config).is_file()
        gpus = each.get('resources', each.get('resourcesPerNode'))['limits']['nvidia.com/gpu']
        assert gpus == '8'


def lost(value, found, where=''):
    """Yield what a class of an SDK has not kept of a manifest: a field that it does not know."""
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(found, dict) or key not in found:
                yield f'{where}.{key}'
            else:
                yield from lost(each, found[key], f'{where}.{key}')
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from lost(each, found[i], f'{where}[{i}]')
    elif value != found:
        yield where


@pytest.mark.parametrize('kind', ['TrainingRuntime', 'TrainJob'])
def test_the_sdk_of_trainer_v2_keeps_every_field(kind):
    models = pytest.importorskip('kubeflow_trainer_api.models')
    manifest = MANIFESTS['trainjob', kind]
    read = getattr(models, f'TrainerV1alpha1{kind}').from_dict(manifest)
    assert list(lost(manifest, json.loads(read.to_json()))) == []


def test_the_sdk_of_the_operator_v1_keeps_every_field(monkeypatch):
    models = pytest.importorskip('kubeflow.training.models')
    client = pytest.importorskip('kubernetes.client')
    for name in dir(models):  # the client looks for classes among its own
        if not hasattr(client.models, name):
            monkeypatch.setattr(client.models, name, getattr(models, name), raising=False)
    manifest = MANIFESTS['pytorchjob', 'PyTorchJob']

    class Response:
        data = json.dumps(manifest)

    api = client.ApiClient()
    read = api.deserialize(Response, 'KubeflowOrgV1PyTorchJob')
    assert list(lost(manifest, api.sanitize_for_serialization(read))) == []
