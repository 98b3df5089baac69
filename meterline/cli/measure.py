"""Commands that show and measure: demo, bench, bench-close."""

from typing import Annotated

import typer

from meterline.child import leave_in_order
from meterline.cli.output import Json, end


def demo(
    *,
    serve: Annotated[bool, typer.Option(help="Leave the server running at the end.")] = False,
    engine: Annotated[str, typer.Option(help="Which engine to show: embedded or kafka.")] = "embedded",
) -> None:
    """Show the whole story in some minutes: usage, the plug pulled three times, invoices, proof."""
    from meterline.demo import run_demo  # noqa: PLC0415 - starts servers; nothing else needs it

    leave_in_order()
    end(run_demo(serve=serve, engine=engine))


def bench(
    *,
    quick: Annotated[bool, typer.Option(help="A few seconds a case; results are not stored.")] = False,
    case: Annotated[list[str] | None, typer.Option(help="Only this case: batch, single, canUse, fold.")] = None,
    as_json: Json = False,
) -> None:
    """Measure four cases, each beside a floor measured in the same run."""
    from meterline.bench import run_bench  # noqa: PLC0415 - starts servers; nothing else needs it

    leave_in_order()
    end(run_bench(quick=quick, cases=case, as_json=as_json))


def bench_close(
    *,
    subscriptions: Annotated[
        list[int] | None, typer.Option(help="How many; repeat it for more sizes. Results are not stored then.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how 1,000 and 10,000 subscriptions close: invoices a second, memory, growth."""
    from meterline.bench import run_bench_close  # noqa: PLC0415 - starts servers; nothing else needs it

    leave_in_order()
    end(run_bench_close(sizes=subscriptions, as_json=as_json))


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("demo")(demo)
    app.command("bench")(bench)
    app.command("bench-close")(bench_close)
