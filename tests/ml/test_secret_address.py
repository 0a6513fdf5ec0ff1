import pytest

from ml.secret_address import scrubbed, shown

ADDRESSES = {
    "postgresql://me:s3cret@host:5432/db": "postgresql://me:***@host:5432/db",
    "postgresql://me:s3cret/w:th@ll@host/db": "postgresql://me:***@host/db",
    "redis://:s3cret@host:6379/0": "redis://:***@host:6379/0",
    "rediss://me:s3cret@[::1]:6379/0?ssl_ca_certs=/ca.pem": "rediss://me:***@[::1]:6379/0?ssl_ca_certs=/ca.pem",
    "redis://host/0?password=s3cret&db=1": "redis://host/0?password=***&db=1",
    "postgresql://host/db?user=me&sslpassword=s3cret": "postgresql://host/db?user=me&sslpassword=***",
    "http://me:s3cret@mlflow:5000": "http://me:***@mlflow:5000",
    "http://mlflow:5000": "http://mlflow:5000",
    "sqlite:////home/a:b/mlflow.db": "sqlite:////home/a:b/mlflow.db",
    "postgresql://me@host/db": "postgresql://me@host/db",
}


@pytest.mark.parametrize(("address", "told"), ADDRESSES.items(), ids=ADDRESSES.values())
def test_a_password_is_hidden_and_nothing_else(address, told):
    assert shown(address) == told


def test_an_error_s_words_lose_the_password_in_whatever_spelling():
    address = "postgresql://me:p%40ss%20w%2Frd@host/db"
    said = f"cannot parse {address}; tried p@ss w/rd, then p%40ss%20w/rd"
    assert scrubbed(said, address) == "cannot parse postgresql://me:***@host/db; tried ***, then ***"
    assert scrubbed("nothing to hide", "http://mlflow:5000") == "nothing to hide"
