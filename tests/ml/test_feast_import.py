import subprocess
import sys

PROGRAM = """
import sys
from ml.feast_import import import_feast
import_feast()
import feast, feast.online_response
assert not {'torch', 'feast.image_utils'} & set(sys.modules), 'it imports torch'
{ask}
"""
ASK = """
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.online_response import OnlineResponse
assert OnlineResponse(GetOnlineFeaturesResponse()).to_tensor() == {}
assert 'torch' in sys.modules
"""


def run(ask):
    return subprocess.run([sys.executable, "-c", PROGRAM.replace("{ask}", ask)], capture_output=True, text=True)


def test_feast_is_imported_without_torch():
    done = run("")
    assert done.returncode == 0, done.stderr


def test_torch_is_there_once_feast_asks_for_it():
    done = run(ASK)
    assert done.returncode == 0, done.stderr
