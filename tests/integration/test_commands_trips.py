"""Drivers and trips over the command API: a fare comes with the finish and can be corrected after it."""

from __future__ import annotations

from collections import Counter
from uuid import UUID, uuid4

from tests.integration.command_server import Api, at_once, problem


def test_a_driver_is_registered_once_and_renamed(api: Api) -> None:
    made = api.post("/drivers", {"name": "Dora"})
    assert made.status_code == 201
    driver_id = made.json()["driver_id"]
    assert made.headers["etag"] == '"1"'
    problem(api.post("/drivers", {"driver_id": driver_id, "name": "Eve"}), 409, "conflict")
    renamed = api.put(f"/drivers/{driver_id}/name", {"name": "Dorothea"})
    assert (renamed.json()["version"], renamed.headers["etag"]) == (2, '"2"')
    assert api.rows("select name, version from drivers") == [("Dorothea", 2)]
    problem(api.put(f"/drivers/{uuid4()}/name", {"name": "Eve"}), 404, "not-found")


def test_a_trip_is_started_finished_and_its_fare_corrected(api: Api) -> None:
    driver_id, rider_id = api.driver(), api.user()
    made = api.post("/trips", {"driver_id": driver_id, "rider_id": rider_id, "city": "Ely"})
    assert made.status_code == 201
    trip = made.json()
    assert UUID(trip["trip_id"]).version == 7
    assert (trip["finished_at"], trip["fare"]) == (None, None)
    path = f"/trips/{trip['trip_id']}"
    problem(api.put(f"{path}/fare", {"fare": "1"}), 409, "conflict")
    finished = api.post(f"{path}/finish", {"fare": "12.5"}, If_Match='"1"')
    assert finished.status_code == 200
    assert (finished.json()["fare"], finished.headers["etag"]) == ("12.50", '"2"')
    assert "correct" in problem(api.post(f"{path}/finish", {"fare": "9"}), 409, "conflict")["hint"]
    corrected = api.put(f"{path}/fare", {"fare": "0"}).json()
    assert (corrected["fare"], corrected["finished_at"]) == ("0.00", finished.json()["finished_at"])
    columns = "driver_id::text, rider_id::text, city, fare::text, version, finished_at > started_at"
    assert api.rows(f"select {columns} from trips") == [(driver_id, rider_id, "Ely", "0.00", 3, True)]


def test_trips_of_or_by_what_does_not_exist(api: Api) -> None:
    body = {"driver_id": api.driver(), "rider_id": api.user(), "city": "Ely"}
    for column in ("driver_id", "rider_id"):
        problem(api.post("/trips", {**body, column: str(uuid4())}), 422, "unknown-reference")
    assert api.rows("select from trips") == []
    problem(api.post(f"/trips/{uuid4()}/finish", {"fare": "1"}), 404, "not-found")
    problem(api.put(f"/trips/{uuid4()}/fare", {"fare": "1"}), 404, "not-found")
    trip_id = api.post("/trips", body).json()["trip_id"]
    problem(api.post("/trips", {**body, "trip_id": trip_id}), 409, "conflict")


def test_a_fare_is_corrected_under_its_version_only(api: Api) -> None:
    path = f"/trips/{api.trip(finished=True)}/fare"
    problem(api.put(path, {"fare": "1"}, If_Match='"1"'), 412, "version-mismatch")
    api.put(path, {"fare": "1"}, If_Match='"2"').raise_for_status()
    assert api.rows("select fare::text, version from trips") == [("1.00", 3)]


def test_a_trip_that_many_finish_at_once_is_finished_once(api: Api) -> None:
    trip_id = api.trip()
    finishes = [("POST", f"/trips/{trip_id}/finish", {"fare": str(fare)}, {}) for fare in range(20)]
    replies = at_once(api, finishes)
    assert Counter(reply.status_code for reply in replies) == {200: 1, 409: 19}
    won = next(reply.json()["fare"] for reply in replies if reply.status_code == 200)
    assert api.rows("select fare::text, version from trips") == [(won, 2)]
