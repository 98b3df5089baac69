from billing.wire import invoice as wire


def test_numbers_sort_as_text():
    assert [wire.number_text(n) for n in (1, 20, 123_456, 1_234_567)] == [
        "INV-000001",
        "INV-000020",
        "INV-123456",
        "INV-1234567",
    ]
