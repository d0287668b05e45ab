"""English phrases that fit every domain: times, places, names, and sentences about whatever the article is about.

Every entry is an expression for `pipeline.sample.grammar`: `a|b` chooses, `[a|b]` chooses inside a phrase, `{name}` inserts another
entry, `{3..9}` a whole number. GENERAL holds one expression per line, an indented line continues the one before. All of it was invented
for this file.
"""

from __future__ import annotations

COMMON = {
    "when": (
        "last [spring|summer|autumn|winter]|some {3..14} [months|weeks] ago|early in the [week|season|year]|by the end of {month}"
        "|during the [first|second|third|final] [week|month|quarter]|on a [wet|quiet|cold|windy|busy] {weekday}|some {4..30} years ago"
        "|between {month} and the new year|shortly before [noon|midnight|sunrise|the holidays]|in the [middle|course] of {month}"
    ),
    "month": "January|February|March|April|May|June|July|August|September|October|November|December",
    "weekday": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
    "number": "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|sixty",
    "share": (
        "about {11..89} percent|roughly {2..9} in ten|more than {12..80} percent|nearly {2..4} fifths|close to {13..77} percent"
        "|a mere {3..9} percent"
    ),
    "name": (
        "Ms. {surname}|Mr. {surname}|Dr. {surname}|{given} {surname}|{given} {surname}|Professor {surname}"
        "|{given}, a {age}-year-old [visitor|neighbor|reader]"
    ),
    "age": "{21..78}",
    "given": "Nora|Felix|Ivy|Oscar|Lena|Hugo|Mara|Theo|Clara|Jonas|Edith|Rufus|Tessa|Milo|Greta|Simon|Wanda|Basil|Freya|Cyrus",
    "surname": (
        "Harlow|Penrose|Whitlock|Ashdown|Marlowe|Tennant|Birchall|Cawley|Dunmore|Eastlake|Fairbrook|Garside|Hollins|Inglewood|Kettering"
        "|Lockyer|Montrose|Norwell|Oakhurst|Pemberly|Quillan|Ravensby|Stoddart|Thornley|Underhay|Vennor|Westcote|Yardleigh"
    ),
    "town": (
        "Larkhaven|Milbury|Stonewick|Fernley Cross|Port Ellsworth|Greyford|Ashmere|Wexcombe|Tarrow Bay|Norwick|Calder Point"
        "|Elmstead|Harrowgate Mills"
        "|Redcliff Falls|Oakminster|Saltbridge|Pinehollow|Dunvale|Westmarsh|Brackwater"
    ),
    "opener": (
        "In practice,|Even so,|As a rule,|At first glance,|For many people,|More often than not,|To be fair,|Looking back,"
        "|On paper,|Little by little,"
        "|In the long run,|Strangely enough,|By contrast,|For that reason,|After all,|In {town},|Not long ago,"
        "|Where money is tight,|Seen from a distance,"
        "|When time allows,|Once the noise settles,|Against expectations,|If nothing else,|Given the choice,|On most days,"
    ),
    "hedge": (
        "probably|almost certainly|perhaps|in all likelihood|rarely if ever|very often|only sometimes|quite reliably|slowly but surely"
    ),
    "valued": (
        "useful|worth the trouble|harder than it looks|easy to overlook|a matter of habit|less costly than feared"
        "|surprisingly dull|a sensible start"
    ),
}

GENERAL = """
{name} put it [plainly|bluntly|kindly|in simpler terms]: {people} [need|want|expect] [time|patience|clear words|fair prices|honest
    answers], and {thing} [offers|promises|hides] [little|some|plenty] of it.
{opener} the [question|trouble|difficulty|point] is not {thing} itself but [who pays for it|how long it lasts|where it leads|what comes
    after it|how it is explained].
[A survey|A short poll|An informal count] in {town} {when} found that {share} of {people} had [changed their minds|second
    thoughts|nothing to add|a favorable view] about {thing}.
There are [at least |]{number} [ways|reasons] to [think about|approach|judge|compare] {thing}, and [none|few|most] of them [is|are]
    {valued}.
{opener} {people} [in {town}|near {town}|outside {town}] have [learned|decided|agreed] to [wait|start small|share the work|write
    everything down|ask twice].
[What surprised|What pleased|What worried] {name} most was how [quickly|quietly|often|seldom] {thing} [came up|changed|turned out
    well|failed] {when}.
[The lesson|The moral|The short version], {name} [said|wrote|argued] {when}, is that {thing} and {thing} [rarely mix|belong
    together|deserve separate plans|compete for the same hours].
[Nobody|Hardly anyone|Not everyone] in {town} [expects|believes|pretends] that {thing} will be [finished|settled|cheap|perfect] {when},
    [yet|but] the [effort|work|talk] goes on.
It would be {valued}, {opener2} to [measure|describe|record|revisit] {thing} before [judging|replacing|praising|blaming] {thing}.
{people2} who [began|arrived|joined] {when} [remember|describe|recall] {thing} as [a gamble|a relief|an experiment|a chore|a turning
    point], while [others|newcomers|critics] [shrug|disagree|see it differently].
"""

GENERAL_SLOTS = {
    "opener2": "all told,|some say,|in the end,|on balance,|as ever,|{name} thinks,|for now,|at the very least,",
    "people2": "Those|People|Volunteers|Families|Colleagues|Visitors|Beginners|Experts|Neighbors|Readers",
}
