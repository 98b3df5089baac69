"""The limits of the pipeline, each with the argument for its number. Sizes in bytes, times in milliseconds.

A limit that an operator may want to change is a setting (`kernel.settings`); these are not. What a single module bounds
(a trial's days, a batch of its own) stands there. Source: DESIGN 3, 8.
"""

from decimal import Decimal
from typing import Final

DAY_MS: Final = 86_400_000

# What one request may carry. 100 events with 50 full properties of 500 characters each would be 2.5 MB, so 4 MiB never
# refuses what the other limits allow in plain ASCII.
BODY_BYTES_MAX: Final = 4 * 1024 * 1024
BATCH_EVENTS_MAX: Final = 100
PROPERTIES_MAX: Final = 50
PROPERTY_CHARS_MAX: Final = 500
KEY_BYTES_MAX: Final = 255

# One trillion with nine places is 70 bits; a million years of such events still fit 16 bytes of 1e-9.
QUANTITY_MAX: Final = Decimal(10) ** 12
QUANTITY_PLACES_MAX: Final = 9

# What one event may take of a pool, and how far a balance may be overdrawn, in 1e-9 of credits or of the major unit: 64
# bits of an outcome, 9.2 billion dollars. An event beyond it is blocked as one that the balance does not cover.
DRAWN_UNITS_MAX: Final = 2**63 - 1

# One record of the log: small enough to fold in one script, large enough to carry five full batches.
RECORD_EVENTS_MAX: Final = 512
RECORD_BYTES_MAX: Final = 256 * 1024

# The gateway's patience. Clients give up after 30 s; append plus verdict stay far below, so they always get an answer.
APPEND_WAIT_MS: Final = 3_000
VERDICT_WAIT_MS: Final = 2_000
IN_FLIGHT_REQUESTS_MAX: Final = 1_000
IN_FLIGHT_BYTES_MAX: Final = 64 * 1024 * 1024
# A connection without a request is closed after this. Clients close theirs after 4 s to 60 s: a server that does so
# first may close one on which a request has just been sent, which then has no answer.
KEEP_ALIVE_MS: Final = 75_000

# How far event times may stray from the acceptance: late by 35 days (R-TRACK-5, with the keys' memory), ahead by what
# badly set clocks show; the same slack holds before a subscription's start (contract, decision 13).
BACKDATE_MS_MAX: Final = 35 * DAY_MS
AHEAD_MS_MAX: Final = 5 * 60_000
START_SLACK_MS: Final = 5 * 60_000
# On a simulated clock an event stamped this near to real now means the simulated now (DESIGN 4).
REAL_NOW_SLACK_MS: Final = 5 * 60_000

# Memory of keys: exact for 35 days, in generations of 9 days of the lane's clock. Five generations always reach
# 36 days back; the filter reads the two newest, which hold nearly all retries; a generation goes at 45 days, when
# nothing that the fold may look up is left in it.
KEY_MEMORY_MS: Final = 35 * DAY_MS
GENERATION_MS: Final = 9 * DAY_MS
GENERATIONS_READ: Final = 5
GENERATIONS_FILTER: Final = 2
GENERATION_DROP_MS: Final = 45 * DAY_MS

# How many of those days LIVE keeps exactly is a setting (ADR 7): at most all, at least what leaves the gateway's filter
# its two newest generations whole. A step moves 250 entries (2 ms of LIVE); ten a second keep up with a lane that
# takes 2,500 keyed events a second.
KEYS_EXACT_DAYS_MIN: Final = 9
KEYS_EXACT_DAYS_MAX: Final = 35
CONDENSE_ENTRIES: Final = 250
CONDENSE_PAUSE_MS: Final = 100
CONDENSE_EVERY_MS: Final = 60_000

# Outcomes stay while a gateway may still ask for one (append, verdict, a reconnection), at most what 30 MB a lane hold.
OUTCOME_KEEP_MS: Final = 10 * 60_000
OUTCOMES_MAX: Final = 250_000

# The sink: one insert a second keeps parts few; 50,000 rows take about 0.15 s.
SINK_ROWS_MAX: Final = 50_000
SINK_WAIT_MS: Final = 1_000
# RAW on a server: a connection within one network takes milliseconds; 50,000 rows go in within a second, and a server
# that needs thirty is one to come back to later. A query of a person ends before the person's client gives up (30 s).
RAW_CONNECT_MS: Final = 2_000
RAW_INSERT_MS: Final = 30_000
RAW_QUERY_MS: Final = 30_000
# Events that a process has folded and not sunk while RAW is away, some 1 kB of memory each; then folding waits.
UNSUNK_EVENTS_MAX: Final = 1_000_000
# How often the log is trimmed below what is folded and sunk: seldom enough to cost nothing, often against LOG_KEEP_MS.
TRIM_EVERY_MS: Final = 10_000

# The books read the log once more. Events and outcomes are counted without being decoded: 0.3 µs each (measured),
# beside the 2 µs an event that reading takes (515,000 events a CPU-second from Kafka). A lane's round of 250,000
# events, as many as LIVE keeps outcomes of, takes 0.7 s of a core, in slices of one read; at 1,000 events a second the
# rounds of all lanes take 0.03 s.
BOOKS_EVERY_MS: Final = 10_000
BOOKS_EVENTS_MAX: Final = 250_000
BOOKS_RECORDS_MAX: Final = 25_000

# The fold: slices keep the event loop free (200 events take about 1 ms), one script writes at most one record's worth.
FOLD_SLICE_EVENTS: Final = 200
FOLD_WRITE_EVENTS_MAX: Final = 512
# An idle lane looks at its end again after this; twice that, and a write, stay below LAG_SHOWN_MS_MIN.
SEEN_REFRESH_MS: Final = 80
# Records of one read: a saturated lane's are large (256 KiB at most), so this is 8 MiB and some writes' worth.
FOLD_READ_RECORDS_MAX: Final = 32
# Accounts that a lane's fold remembers between writes, 5 to 40 kB each with their terms and the places of their usage:
# at most 200 MB a lane. One that is not remembered is read from LIVE with the others of its slice.
ACCOUNTS_CACHED_MAX: Final = 5_000
# A worker that finds a store away asks again after this, doubled each time up to the greater one; it never gives up.
RETRY_MS_MIN: Final = 50
RETRY_MS_MAX: Final = 2_000
# `lagMs` reads 0 below this: an idle lane is looked at every SEEN_REFRESH_MS, which is no lag.
LAG_SHOWN_MS_MIN: Final = 200

# Aggregators share the lanes: each says five times a second that it is here (a script of microseconds), and is taken
# for dead after two seconds, so that its lanes give verdicts again well within five.
MEMBER_BEAT_MS: Final = 200
MEMBER_LASTS_MS: Final = 2_000

# How many sub-hashes a generation of keys has: a hash of some ten million entries is freed lazily and moved whole, so a
# cluster's are smaller.
KEY_SUBS_EMBEDDED: Final = 1
KEY_SUBS_DISTRIBUTED: Final = 64

# A position spells the epoch in one byte.
EPOCH_MAX: Final = 255

# How many lanes a deployment gets unless a setting says otherwise.
LANES_EMBEDDED: Final = 4
LANES_DISTRIBUTED: Final = 16

# A gateway whose clock is further from LIVE's than this takes no usage: its `at` orders the attempts of a key, between
# which clients pause (DESIGN 3.12).
CLOCK_SKEW_MS_MAX: Final = 1_000
# While LIVE is away SQL is asked for a newer catalog at most this often: five looks a second.
CATALOG_STALE_MS_MAX: Final = 200
# LIVE's word on the catalog's version holds for one run of a server, so a restart or failover that lost writes is seen
# at once, whatever this number is (`Live.catalog`). A minute without a comparison bounds what is left: nobody compares
# (every relay is dead, or SQL is away: usage goes on as long) while a process that commits does not reach LIVE; a
# master that was voted out and still answers its side of a cut network; a place lost and won back.
CATALOG_SEEN_MS_MAX: Final = 60_000
# A committed change that could not be told to LIVE is told by the other processes' relays, which compare every 250 ms.
CATALOG_RELAYED_MS_MAX: Final = 1_000
# A committed change of an account is answered once LIVE shows it, in any case after this, as a verdict is.
VISIBLE_WAIT_MS: Final = 2_000
# A change of plan waits for its cut, and any change for the close of what is over: some 50 ms each when fold and sink
# keep up, and well below a client's 30 s.
CHANGE_WAIT_MS: Final = 10_000
# A read that asks for a position waits this long for the fold, and then says that it is not reached.
MIN_POSITION_WAIT_MS: Final = 1_000
# A rebuild whose counter stands for this long is taken for dead, and another begins.
REBUILD_STALE_MS: Final = 10_000

# Dead letters stop a lane at 1 % of its last 10,000 events, at least 100 of at least 10 customers: then it is not the
# data of one sender that is wrong, but us.
DEAD_LETTER_WINDOW_EVENTS: Final = 10_000
DEAD_LETTER_PER_CENT: Final = 1
DEAD_LETTERS_MIN: Final = 100
DEAD_LETTER_CUSTOMERS_MIN: Final = 10

# A replay of dead letters goes page by page, and waits for the verdicts of one before it sends the next: at most 20 MB
# of events of the greatest size, and never a backlog. So many may be named in one command, and so many are reported one
# by one. A lane that does not judge within a minute is stopped, or far behind.
REPLAY_PAGE_EVENTS: Final = 100
REPLAY_NAMED_MAX: Final = 1_000
REPLAY_WAIT_MS: Final = 60_000
# The metric of open dead letters counts the newest ones up to here: a query of some milliseconds.
OPEN_LETTERS_MAX: Final = 10_000

# Refusals kept for audit per organization; beyond it they are only counted.
REFUSALS_PER_SECOND_MAX: Final = 100

# Lists (contract 2.5).
PAGE_DEFAULT: Final = 25
PAGE_MAX: Final = 100

# Buckets of one usage query: six weeks of hours or more than two years of days, an answer of some 60 kB.
QUERY_BUCKETS_MAX: Final = 1_000

# What is folded and sunk stays in the log for audit and late questions: in memory (Valkey) for ten minutes, on disks
# (Kafka) for a week, which a long weekend without an operator and a restore of RAW fit into.
LOG_KEEP_MS: Final = 10 * 60_000
LOG_KEEP_KAFKA_MS: Final = 7 * DAY_MS

# The catalog: a cached customer is about 1 KB, so 50 MB a process; answers to repeated writes stay for a day
# (contract 1.5).
CUSTOMERS_CACHED_MAX: Final = 50_000
IDEMPOTENT_KEEP_MS: Final = DAY_MS

# The longest an organization may wait for late events before a close: a week, far below the 35 days of late events.
SETTLE_SECONDS_MAX: Final = 7 * DAY_MS // 1000

# Where a test clock may stand. RAW's columns of time end with the year 2299; a century of room lets periods, late
# events and the memory of windows reach beyond the clock, and the first year keeps everything after 1970.
TEST_CLOCK_MS_MIN: Final = 365 * DAY_MS  # 1971-01-01
TEST_CLOCK_MS_MAX: Final = 84_006 * DAY_MS  # 2200-01-01

# A trial or a pause that is asked for by one subscription: two years are longer than any that still wants to be one.
SUBSCRIPTION_DAYS_MAX: Final = 730

# Terms that a pause, a change of plan or a renewal with other limits ended stay in the account's snapshot, so that late
# usage still counts and is corrected (ADR 9), if they ended within 67 days before the period in force: a window of 31
# days, and 36 more in which it is known. Four ends in that time are more than anybody makes; usage of before them is
# refused. 400 metered features of 100 bytes in all keep the record small.
ENDED_TERMS_MAX: Final = 4
ENDED_TERMS_DAYS: Final = 67
ENDED_FEATURES_MAX: Final = 400
# The most that a price may be, and that one call may charge or credit, in minor units: ten billion dollars, and sums of
# such stay in 64 bits.
AMOUNT_MINOR_MAX: Final = 10**12
# The most that an invoice or one of its lines may come to, in minor units: a thousand such prices. It stays exact in
# clients that read numbers as floating point (2**53), and nine thousand invoices of one customer add up in 64 bits.
INVOICE_MINOR_MAX: Final = 10**15

# Seats of one type that one customer may hold: more than any company has people, and a count never outgrows its column.
SEATS_MAX: Final = 10_000_000
