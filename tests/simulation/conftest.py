def pytest_addoption(parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="run this one seed of the simulation, with its trace")
