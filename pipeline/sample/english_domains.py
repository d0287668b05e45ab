"""English phrase tables of the six domains: what the made-up English articles of the sample are woven from.

The notation is that of `pipeline.sample.grammar`; `title` and `sentences` hold one expression per line, an indented line continues the one
before. All of it was invented for this file.
"""

from __future__ import annotations

DOMAINS: dict[str, dict[str, str]] = {
    "Science, Math & Technology": {
        "thing": (
            "the orbit of the comet|a careful measurement|the telescope data|the proof by induction|the prime number table"
            "|the chemical balance|the magnetic sensor"
            "|the fossil record|the plankton sample|the laser experiment|the error bar|the wave equation|the crystal lattice"
            "|the seismic map|the gene sequence"
        ),
        "people": (
            "astronomers|physicists|field biologists|young mathematicians|lab technicians|geologists|chemistry students|engineers"
            "|oceanographers|reviewers"
        ),
        "body": (
            "the moon|a distant star|the outer planet|a dying galaxy|the sun|a passing asteroid|the ring system|a young nebula"
            "|a neutron star|the comet tail"
        ),
        "tool": (
            "spectrometer|radio dish|microscope|seismograph|particle counter|weather balloon|thermometer array|prism|centrifuge"
            "|deep-sea probe|gravimeter"
        ),
        "quantity": (
            "mass|temperature|density|brightness|frequency|pressure|acidity|velocity|charge|entropy|salinity|curvature|half-life|wavelength"
        ),
        "species": (
            "the river eel|a desert beetle|the arctic fern|a cave spider|the reef sponge|the mountain finch|a soil fungus"
            "|the tide-pool snail|a glass frog"
        ),
        "maths": (
            "theorem|lemma|matrix|polynomial|triangle|infinite series|graph|integral|probability|set of primes|linear map"
            "|differential equation|fraction"
        ),
        "title": (
            "How {people} learned to trust {thing}\nThe {quantity} of {body}, measured again\nNotes on a {maths} and a {tool}"
            "\nWhat {species} tells {people}"
        ),
        "sentences": """
The {tool} [recorded|registered|picked up] a {quantity} [{2..95} percent|slightly|markedly] [above|below] what {people} had
    [predicted|calculated|assumed] for {body}.
To [solve|understand|simplify] the {maths}, one [starts|begins] from a {maths} with [{3..19} terms|a known limit|integer values] and
    [works backward|divides by {2..9}|checks each case].
A [team|group|pair] of {people} [lowered|carried|calibrated] a {tool} [near {town}|at the station in {town}] {when} and [waited {2..40}
    hours|repeated the run {2..9} times].
{species2} [survives|thrives|feeds] where the {quantity} [falls under|stays near|exceeds] {2..60} [units|degrees|parts per million],
    which [few|no other] organisms [tolerate|manage].
Because the {quantity} of {body} [varies|drops|oscillates] with [distance|time|rotation], the [curve|model|estimate] must
    [include|allow for] a {maths} of [higher|second|third] order.
The [hypothesis|conjecture|claim] [holds|fails] only if the {quantity} is [constant|positive|finite], as {name} [proved|showed|noticed]
    in a paper [{when}|about the {maths}].
[Light|Heat|Sound|Radiation] from {body} takes {2..59} [minutes|years|hours] to reach the {tool}, so {people} [see|measure|record] the
    past.
[Each|Every] [sample|reading|specimen] was [weighed|frozen|labeled|scanned] {number} times, and the {quantity} was [plotted|compared]
    against the {quantity2}.
Under the {tool}, {species} [shows|reveals|displays] [thin|layered|hollow|spiral] [cells|fibers|scales] that [scatter light|store
    water|resist heat].
A simple {maths} [explains|describes|captures] why {body} [wobbles|cools|brightens|drifts] every {3..90} [days|years|hours].
{people3} now [doubt|confirm|debate] that the {quantity} and the {quantity2} are [independent|proportional|linked by a {maths}].
The [classroom|kitchen-table] version of the experiment needs a [magnet|lamp|glass jar|mirror], a [ruler|stopwatch|string], and
    {number} [patient|curious] {people}.
With better {tool} data, the [age|radius|distance] of {body} was [revised|corrected] from {3..40} to {41..99} [million years|thousand
    kilometers|light-years].
If the {maths} is [symmetric|convex|continuous], its [maximum|root|inverse] can be [found|bounded|approximated] in [{3..30} steps|a
    single line|logarithmic time].
""",
        "species2": (
            "The river eel|A desert beetle|The arctic fern|One cave spider|The reef sponge|The mountain finch|A soil fungus"
            "|The tide-pool snail"
        ),
        "quantity2": "surface area|depth|humidity|latitude|exposure time|altitude|volume|viscosity|conductivity|phase angle",
        "people3": "Astronomers|Physicists|Biologists|Geologists|Statisticians|Chemists|Oceanographers",
    },
    "Crime & Law": {
        "thing": (
            "the burden of proof|the lease agreement|a civil complaint|the appeal deadline|the witness statement|the bail hearing"
            "|the sealed warrant|a plea bargain"
            "|the property dispute|the custody order|a small-claims case|the forged signature|the jury instruction"
            "|the insurance fraud file|the settlement offer"
        ),
        "people": (
            "judges|defense lawyers|prosecutors|jurors|court clerks|detectives|tenants|landlords|legal aid workers|mediators"
            "|probation officers"
        ),
        "crime": (
            "burglary|embezzlement|perjury|arson|shoplifting|identity theft|smuggling|tax evasion|vandalism|bribery|trespassing"
            "|forgery|extortion"
        ),
        "court": (
            "the county court|the appeals panel|the district tribunal|the supreme court|the family court|the labor board"
            "|the magistrate|the review commission"
        ),
        "paper": (
            "affidavit|subpoena|contract|deed|indictment|injunction|statute|clause|petition|verdict|will|summons|ordinance|receipt"
            "|police report"
        ),
        "penalty": (
            "a fine of {2..90} hundred dollars|{2..15} years in prison|probation|community service|a suspended sentence"
            "|restitution|the loss of a license"
        ),
        "title": "When a {paper} goes missing\n{crime2} and the law in {town}\nWhat {people} should know about {thing}\nInside {court}",
        "crime2": "Burglary|Embezzlement|Perjury|Arson|Identity theft|Smuggling|Tax evasion|Vandalism|Forgery|Extortion",
        "sentences": """
[The defendant|A former clerk|A warehouse owner] was [charged with|convicted of|cleared of] {crime} {when} after {people}
    [examined|produced|questioned] the {paper}.
{court2} [ruled|held|found] that the {paper} was [void|valid|ambiguous|unenforceable] because [one party|the seller|the guardian] had
    not [signed|read|dated] it.
Under the [statute|ordinance|code], {crime} [carries|is punished by|can lead to] {penalty}, [although|though] {people} may [ask
    for|consider] {penalty}.
A {paper} must be [filed|served|notarized] within {5..60} days, or {court} will [dismiss|refuse|postpone] the [claim|motion|appeal].
{people3} [argue|insist|concede] that {thing} [protects|burdens|confuses] [ordinary citizens|small firms|first offenders] more than
    [the state|any bank|repeat offenders].
The [detective|officer|investigator] [found|seized|photographed] {number} [envelopes|keys|ledgers|laptops] in {town}, each
    [linked|traced|tied] to the {crime} case.
[Before signing|After receiving|On reading] a {paper}, [tenants|buyers|heirs|employees] should [ask|check|note] who [pays the
    costs|bears the risk|keeps the deposit].
The [jury|panel] [deliberated|met] for {3..48} hours and [rejected|accepted] the [theory|argument] that {crime} had been
    [planned|provoked|staged] {when}.
In a {3..60}-page opinion, {court} [narrowed|widened|restored] the [meaning|scope] of the word [property|intent|consent|negligence] in
    the {paper}.
[If|Unless] the [landlord|employer|insurer] [breaches|withdraws|honors] the {paper}, {people} can [sue for damages|seek
    mediation|demand {penalty}].
{name} [testified|told {court}|stated under oath] that the {paper} had been [altered|copied|hidden] [in a drawer|by a partner|before
    the audit].
Cases of {crime} in {town} [fell|rose] by {3..60} percent, which {people} [attribute to|blame on|credit to] [night patrols|new
    cameras|lenient sentencing].
[Evidence|A confession] [obtained|gathered] without a {paper} is [inadmissible|open to challenge], and {people} [know|remember] it.
The [plaintiff|victim|heir] [received|was awarded|declined] {11..95} thousand dollars, and {court} [ordered|imposed] {penalty} [as
    well|on top].
""",
        "court2": "The county court|The appeals panel|The district tribunal|The family court|The labor board|The review commission",
        "people3": "Judges|Defense lawyers|Prosecutors|Scholars|Mediators|Reformers",
    },
    "Health": {
        "thing": (
            "the vaccination plan|a sleep diary|the new inhaler|morning stiffness|the blood test|the rehabilitation program"
            "|a low-salt diet|the waiting list"
            "|the knee operation|hand washing|the school nurse program|a balanced routine|the dental check|the allergy season"
            "|the pain scale"
        ),
        "people": (
            "nurses|family doctors|patients|physiotherapists|pharmacists|midwives|caregivers|surgeons|dietitians|new parents|older adults"
        ),
        "illness": (
            "asthma|migraine|influenza|diabetes|arthritis|anemia|eczema|high blood pressure|insomnia|bronchitis|hay fever"
            "|back pain|gastritis"
        ),
        "remedy": (
            "a saline spray|gentle stretching|an antihistamine|iron tablets|a daily walk|physical therapy|warm compresses|insulin"
            "|a soft brace|extra fluids|rest"
        ),
        "organ": "heart|liver|lungs|kidneys|spine|skin|thyroid|stomach|knees|immune system|inner ear|retina",
        "sign": (
            "fever|fatigue|a dry cough|swelling|dizziness|shortness of breath|numb fingers|a rash|stomach cramps|blurred vision"
            "|a fast pulse|joint pain"
        ),
        "title": (
            "Living with {illness}: what {people} advise\nWhen {sign} is a reason to call\nThe {organ} and {thing}\n{remedy2} for {illness}"
        ),
        "remedy2": "Gentle stretching|Iron tablets|A daily walk|Warm compresses|Extra fluids|Rest|Physical therapy",
        "sentences": """
[Adults|Children|Patients] with {illness} who [tried|received|kept to] {remedy} [reported|had] {share2} [less|fewer days of] {sign}
    after {2..16} weeks.
{people3} [recommend|suggest|prefer] {remedy} [before|instead of|alongside] stronger [medicine|drugs|treatment] when {sign} is
    [mild|recent|the only symptom].
[If|When] {sign} [lasts|persists] more than {2..14} days, or [comes with|is followed by] {sign}, it is [wise|time] to [see a
    doctor|call the clinic].
The {organ} [works|suffers|recovers] [harder|more slowly] during {illness}, [so|which is why] {people} [check|watch|monitor] [the
    pulse|oxygen levels|body weight|urine color].
A [dose|course] of {remedy2b} should be [adjusted|halved|spread] over {2..9} days for [people over {55..80}|anyone with weak
    {organ}|small children].
[In a trial|In a study] of {110..980} [volunteers|patients] near {town}, {illness} [improved|eased|returned] in {share} of those given
    {remedy}.
[Too little|Too much] [sleep|salt|sunlight|sugar|exercise] [raises|lowers] the risk of {illness}, especially where {sign} [runs in the
    family|went unnoticed].
The clinic in {town} [opened|added|closed] {number} [beds|rooms|evening slots] {when} so that {people} could [treat|screen for|discuss]
    {illness} sooner.
[Drink|Carry|Keep] [water|a list of medicines|a thermometer] at hand, and [write down|note] each [episode|hour] of {sign} for {people}.
{illness2} is [not contagious|often hereditary|easily confused with {illness}|more common after {30..65}], and {remedy} [helps|does
    little|brings relief].
[Vaccines|Regular checks|Early tests] [protect|spare] the {organ} from [lasting|silent|avoidable] damage, [say|explain] {people} in
    {town}.
{name} [lived with|ignored|managed] {illness} for {2..25} years before {sign} [led to|ended in] [surgery|a diagnosis|a change of diet].
[Warm up|Breathe out slowly|Sit upright] for {2..12} minutes first, since {sign} [eases|worsens] when the {organ} is
    [strained|rested|cold].
[Parents|Teachers|Carers] [mistake|take] {illness} for {illness} because both [start|begin] with {sign} and [a poor appetite|restless
    nights].
""",
        "share2": "{11..60} percent|clearly|a third|noticeably|far|half again|somewhat",
        "remedy2b": "antihistamines|iron tablets|insulin|cough syrup|vitamin drops|mild painkillers|antibiotics|eye drops",
        "illness2": "Asthma|Migraine|Diabetes|Arthritis|Anemia|Eczema|Insomnia|Bronchitis|Gastritis",
        "people3": "Nurses|Family doctors|Physiotherapists|Pharmacists|Midwives|Dietitians|Surgeons",
    },
    "Software Development": {
        "thing": (
            "the build server|a failing test|the code review|the legacy module|the database migration|the retry logic"
            "|the release branch|static typing"
            "|the message queue|the cache layer|a memory leak|the public interface|the deployment script|the logging format"
            "|the dependency tree"
        ),
        "people": (
            "developers|maintainers|testers|platform engineers|junior programmers|reviewers|on-call engineers|architects"
            "|contributors|release managers"
        ),
        "part": (
            "parser|scheduler|compiler|garbage collector|thread pool|load balancer|front end|index|serializer|plugin"
            "|socket handler|config loader|type checker"
        ),
        "bug": (
            "a race condition|an off-by-one error|a null reference|a stale cache|a deadlock|an integer overflow|a missing lock"
            "|a circular import|a timeout"
        ),
        "metric": (
            "latency|throughput|memory usage|startup time|test coverage|binary size|error rate|query count|commit frequency|queue depth"
        ),
        "action": "refactor|profile|rewrite|mock|deprecate|document|instrument|simplify|split|pin|benchmark|roll back",
        "title": "Why {people} {action} the {part}\nTracing {bug} in the {part}\nA field guide to {thing}\n{metric2} after the rewrite",
        "metric2": "Latency|Throughput|Memory usage|Startup time|Test coverage|Binary size",
        "sentences": """
The {part} [crashed|stalled|slowed down] because of {bug} that [appeared|surfaced] only when {2..64} [threads|requests|workers]
    [shared|opened|retried] a [buffer|connection|file].
{people3} [chose|decided|agreed] to {action} the {part} before [version {2..9}|the next release], since its {metric} had
    [doubled|grown|regressed] {when}.
[A unit test|An integration test|A property test] for the {part} [runs|finishes] in {2..90} [seconds|milliseconds] and
    [catches|reproduces] {bug} every time.
[After|Once] we [moved|ported] the {part} to [an async loop|a smaller type|immutable data|a single process], {metric} [fell|rose] by
    {4..88} percent.
It is [tempting|easy|common] to {action} the {part}, but {people} [should first|must first] [read|measure|log] the {metric} under [real
    traffic|a heavy load].
The [pull request|patch|commit] [touched|changed] {3..95} files, [renamed|removed] the {part}, and [introduced|fixed] {bug} in the {part}.
[Interfaces|Functions|Modules] that [return|accept] [plain values|explicit errors|one argument] are [simpler|cheaper] to {action} than
    those that [hide|leak] [state|threads|globals].
To [debug|isolate] {bug}, {name} [added|inserted] {number} [log lines|breakpoints|assertions] to the {part} and [replayed|bisected] the
    [traffic|history].
A [pinned|transitive|forked] dependency of the {part} [broke|blocked] the pipeline in {town}, and {people} had to {action} it
    [overnight|by hand|twice].
[Good|Honest|Short] [commit messages|comments|changelogs] tell {people} why the {part} [exists|was split|skips a check], not [what|how]
    it does.
The {part} [keeps|stores|hashes] {2..64} [entries|pages|tokens] per [shard|node|bucket], so {metric} [depends|hinges] on [key
    order|disk speed|batch size].
With [feature flags|canary releases|snapshots], {people} can {action} the {part} for {2..40} percent of users and [watch|compare]
    {metric}.
[Never|Rarely] {action} [two systems|a schema|the {part}] and the {part} in one [sprint|release], [warned|advised] {name} {when}.
[Documentation|A style guide|A code owner file] for the {part} [saves|costs] {people} [an hour|{2..9} days] a [week|month], {opener2b}
""",
        "opener2b": (
            "by most accounts.|and nobody misses the old wiki.|which shows in the {metric}.|or so {name} claims.|even on small teams."
        ),
        "people3": "Developers|Maintainers|Testers|Engineers|Reviewers|Contributors|Architects",
    },
    "Travel & Tourism": {
        "thing": (
            "the night train|a window seat|the harbor ferry|the walking tour|a late check-in|the mountain pass|the old market"
            "|a rail card|the coastal path"
            "|the museum ticket|the guest house|the border queue|the hop-on bus|a rented bicycle|the lantern festival"
        ),
        "people": (
            "backpackers|tour guides|hotel owners|cyclists|day trippers|ferry captains|families with children|hikers"
            "|solo travelers|photographers"
        ),
        "sight": (
            "castle|lighthouse|waterfall|cathedral|old quarter|botanical garden|viewpoint|canal|fishing pier|hot spring|vineyard"
            "|palace|night market"
        ),
        "ride": "tram|cable car|overnight bus|slow train|water taxi|ferry|rental car|shuttle|mountain railway|bicycle|airport express",
        "stay": "hostel|guest house|farm cottage|riverside hotel|campsite|family inn|converted mill|beach cabin|capsule hotel|lodge",
        "pack": (
            "a rain jacket|a paper map|sturdy shoes|a spare charger|sunscreen|a phrase book|a light scarf|cash in small notes"
            "|an empty bottle|a head torch"
        ),
        "title": (
            "{3..9} days around {town} by {ride}\nThe {sight} that {people} skip\nFrom {town} to {town}: a {ride} journey"
            "\nChoosing a {stay} near the {sight}"
        ),
        "sentences": """
The {ride} from {town} to {town} takes {2..11} hours, [stops|waits] at {number} [villages|stations], and [passes|skirts] the {sight}
    [on the left|before sunset].
[Book|Reserve] the {stay} [{2..9} weeks ahead|directly by phone], because {people} [fill|take] every room [during the festival|in
    {month}|on weekends].
[Admission|Entry] to the {sight} costs {3..45} [euros|dollars], but [students|children under {6..16}|early arrivals] [pay half|get in
    free].
[From|Behind|Above] the {sight}, a [stone|gravel|shaded] path [climbs|winds|drops] for {2..14} kilometers to a
    [quiet|ruined|whitewashed] {sight}.
[Pack|Bring|Carry] {pack}, {pack}, and {pack} if you plan to [see|reach|photograph] the {sight} [at dawn|in the rain|on foot].
{people3} [praise|recommend|avoid] the {stay} in {town} for its [breakfast|creaking floors|rooftop view|thin walls|friendly owner].
[We|My sister and I|{name} and I] [missed|caught|shared] the last {ride} {when} and [walked|hitchhiked|talked] all the way to the {stay}.
The {sight} [closes|opens] at {5..11}, yet the [square|terrace|harbor] around it [stays lively|fills with music|empties early] [until
    midnight|in {month}].
A day pass for the {ride} [covers|includes] {town}, {town}, and the {sight}, and [pays for itself|is worth it] after {2..6} [trips|stops].
[Locals|Guides|Shopkeepers] in {town} [point|send] {people} to a {sight} [{3..30} minutes|two valleys] away where [the crowds thin
    out|parking is free].
In [low|high] season the {stay} [charges|asks] {21..95} dollars a night, [breakfast|a {ride} ticket|{pack}] included.
[Storms|Strikes|Fog] [delay|cancel] the {ride} [a few times|about {3..20} days] each year, so {people} [keep|hold] [a spare day|a
    second plan].
[Half an hour|A short walk] beyond {town}, {people} [swim|picnic|camp] beside the {sight} and [watch the boats|wait for the {ride}|dry
    their socks].
[For a taste of|To understand] the region, [visit|walk through] the {sight} {weekday2}, then [sit|rest] in a [bakery|wine bar|tea
    house] near the {stay}.
""",
        "weekday2": "on a {weekday} morning|after the {ride} leaves|before the tour groups|late on {weekday}|once the rain stops",
        "people3": "Backpackers|Cyclists|Hikers|Photographers|Couples|Regular guests|Travel writers",
    },
    "Food & Dining": {
        "thing": (
            "the sourdough starter|a slow simmer|the tasting menu|the corner bakery|a sharp knife|the pickle jar|the lunch special"
            "|the wood-fired oven"
            "|the spice rack|a pinch of salt|the cheese board|the farmers market stall|a cast-iron pan|the broth|the table by the window"
        ),
        "people": (
            "home cooks|pastry chefs|bakers|waiters|food critics|line cooks|hungry guests|grocers|cheese makers|dishwashers|regular diners"
        ),
        "food": (
            "mushrooms|lentils|roast chicken|rice noodles|leeks|salmon|pork belly|eggplant|barley|squash|mussels|chickpeas"
            "|goat cheese|cabbage|duck legs"
        ),
        "flavor": (
            "lemon zest|smoked paprika|fresh thyme|garlic|ginger|brown butter|soy sauce|mustard|toasted sesame|black pepper|honey"
            "|vinegar|cumin|anchovy"
        ),
        "dish": "stew|risotto|dumplings|flatbread|soup|pie|salad|curry|casserole|omelet|tart|porridge|noodle bowl|gratin|pancake",
        "vessel": "skillet|stockpot|mixing bowl|baking tray|steamer|clay pot|saucepan|mortar|loaf tin|wok",
        "title": "A {dish} of {food} and {flavor}\nWhere {people} eat in {town}\n{number2} ways with {food}\nWhy {thing} matters",
        "number2": "Three|Four|Five|Six|Seven",
        "sentences": """
[Heat|Warm|Oil] the {vessel}, add the {food}, and [stir|cook|leave it] for {3..45} minutes until the edges [brown|soften|curl].
[Whisk|Fold|Mix] {2..9} [tablespoons|teaspoons|cups] of {flavor} into the [batter|sauce|dough], then [rest|chill] it in the {vessel}
    [for an hour|overnight].
The {dish} at [the inn|a small place] in {town} [arrives|comes] with {food}, {flavor}, and [a wedge of bread|too much cream|a fried egg].
{people3} [swear by|argue over|never skip] {flavor} in a {dish}, [especially|even] when the {food} is [fresh|in season|left over].
[Season|Finish|Brush] the {food} with {flavor} [at the end|before roasting], because {flavor} [burns|fades|turns bitter] in a hot
    {vessel}.
A [good|proper|cheap] {dish} needs {number} things: [ripe|dry|cold] {food}, {flavor}, [patience|a steady flame], and a
    [heavy|clean|wide] {vessel}.
[Dinner|Lunch|Brunch] for {2..8} [costs|came to] {14..95} dollars, and the {dish} with {food} was [worth it|oversalted|gone by {7..10}].
[Soak|Rinse|Salt] the {food} for {2..24} hours so that the {dish} [stays light|thickens slowly|does not turn watery].
{name} [learned|copied|inherited] the {dish} from [an aunt|a neighbor|a sailor] in {town} and [still adds|never adds] {flavor}.
[Serve|Plate|Share] the {dish} [warm|at room temperature], scattered with {flavor} and [thin slices of|a spoonful of] {food}.
If the {dish} [splits|sticks|tastes flat], [lower the heat|add a splash of stock|scrape the {vessel}] and [stir in|grate over] some
    {flavor}.
[Leftover|Grilled|Mashed] {food} [makes|becomes] a [quick|generous|thrifty] {dish} the next day, with {flavor} and a [soft egg|squeeze
    of lime].
The [kitchen|chef|owner] [buys|orders] {food} from [a farm|growers] near {town} and [smokes|pickles|roasts] it {when}.
[Bake|Steam|Braise] at {140..230} degrees for {12..90} minutes, turning the {vessel} [once|twice], until the {food}
    [flakes|yields|smells of {flavor}].
""",
        "people3": "Home cooks|Pastry chefs|Bakers|Critics|Line cooks|Grandmothers|Regulars",
    },
}
