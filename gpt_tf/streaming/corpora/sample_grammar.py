"""A small context-free grammar of film reviews: it writes sentences and recognises them.

The grammar is a table of rules, written below as text. ``name = one | another`` says that
``<name>`` becomes one of its alternatives, each drawn equally often (one written twice, twice as
often). A rule of `_SHARED` serves every review; `_POSITIVE` and `_NEGATIVE` define the same names
with opposite opinions. No rule refers back to itself, and agreement never reaches beyond a few
words, so that a small model learns the language in minutes.

1. `generate_sentence` expands ``<sentence>`` into words, drawing alternatives.
2. `_surface` turns words into text: a or an, the capital letter, no blank before a comma.
3. `parses` takes text apart into words again and asks the same rules whether they derive them.
"""

from __future__ import annotations

import re
from random import Random

_SHARED = """
sentence = <verdict> | <plot> | <acting> | <music> | <camera> | <direction> | <pacing>
    | <ending> | <feeling> | <advice>

verdict = <film> is <degree> <fine> . | <film> is a <fine> <genre> about <theme> .
    | <film> is a <degree> <fine> <genre> about <theme> . | <film> is <worth> .
    | <film> is <fine_one> and <fine_two> <span> . | <film> is a <fine> <genre> with <asset> .
    | <film> is a <fine> <genre> set in a <scenery> <place> . | what a <fine> <genre> !
    | <film> is one of the <best> <genres> of the <period> .
film = this movie | this movie | this movie | this film | this picture
degree = truly | really | simply | quite | thoroughly | genuinely | surprisingly
fine = <fine_one> | <fine_two>
genre = comedy | thriller | drama | western | musical | romance | mystery | adventure
    | ghost story | love story | crime story | war film | road movie | family film
genres = comedies | thrillers | dramas | westerns | musicals | romances | mysteries
    | ghost stories | crime stories
theme = friendship | revenge | loneliness | jealousy | courage | forgiveness
    | growing up | ambition | old age | first love | justice
span = from start to finish | from the first scene to the last
period = year | decade | season | summer

plot = <opener> the plot is <degree> <plotted> . | <opener> the script <written> .
    | the story follows a <trait> <hero> who <deed> in a <scenery> <place> .
    | in a <scenery> <place> , a <trait> <hero> <deed> .
    | the dialogue is <plotted> , and so are the characters .
trait = lonely | retired | stubborn | shy | elderly | curious | penniless | famous
    | absent-minded | nervous
hero = widow | detective | sailor | baker | violinist | soldier | gardener
    | inventor | nurse | thief | clockmaker | magician
deed = inherits a fortune | falls in love | uncovers a secret | solves a murder
    | learns to dance | adopts a stray dog | hides from the police | hunts a ghost
    | finds an old diary | plans a robbery | repairs an ancient clock
scenery = quiet | snowy | crumbling | remote | crowded | haunted | foggy | sunny
place = village | castle | seaport | monastery | mansion | hospital | circus | railway station
opener = in my opinion , | to tell the truth , | without a doubt , | to be honest ,
    | all in all , | above all ,

acting = <person> is <degree> <acted> as the <role> . | <person> plays the <role> with <manner> .
    | the <role> is played by <person> , who <performs> .
    | <opener> the acting is <degree> <acted> <place_in_film> .
    | <opener> the <players> are <acted> <place_in_film> .
    | as the <role> , <person> <performs> <place_in_film> .
person = <first_name> <last_name>
first_name = Agnes | Bruno | Clara | Dmitri | Edith | Felix | Greta | Hugo | Ingrid | Viktor
last_name = Ashdown | Bellweather | Corrigan | Dunmore | Fairbrook | Kettering
    | Lindqvist | Marchetti | Pemberton | Whitlock
role = villain | narrator | captain | professor | sheriff | evil landlord
    | village doctor | mad scientist | faithful servant | jealous rival | rich merchant
    | ghost | judge
players = supporting actors | child actors | two leads | newcomers | extras
place_in_film = in almost every scene | throughout the whole film
    | from beginning to end | in the opening chapter

music = <opener> the <score> is <degree> <sounding> . | <opener> the music by <person> <plays> .
    | the <score> is <sounding> , and so are the <instruments> .
    | even the <instruments> sound <sounding_too> <place_in_film> .
    | <opener> the songs of <person> are <degree> <sounding> .
score = music | soundtrack | piano theme | title song | overture
instruments = violins | trumpets | drums | guitars | bells | singers

camera = <opener> the <photography> is <degree> <looking> . | <opener> the <sights> are <looking> .
    | the <sights> are <degree> <looking> <place_in_film> .
    | the camera <sees> <place_in_film> . | <opener> the camera <sees> .
    | <opener> every <shot> looks like <image> .
photography = photography | camera work | lighting | scenery
sights = costumes | special effects | sets | landscapes | close-ups
    | night scenes | battle scenes
shot = frame | shot | image

direction = <opener> the director <directs> . | <opener> <person> <directs> .
    | <person> directs the <scenes> with <manner> .
    | <opener> the direction is <degree> <guided> <place_in_film> .
scenes = love scenes | chase scenes | crowd scenes | battle scenes

pacing = <opener> the <tempo> is <degree> <paced> . | <opener> the <portion> <moves> .
    | at <length> minutes , <film> <lasts> .
tempo = pacing | editing | rhythm
portion = first half | second half | middle section | opening hour
length = eighty | ninety | one hundred
number = ten | twenty | thirty | forty

ending = <opener> the ending is <degree> <concluded> .
    | <opener> the <last> scene <ends> . | when the <hero> finally <resolves> , <reaction> .
    | the last <number> minutes are <degree> <concluded> .
last = final | last | closing
resolves = comes home | learns the truth | opens the letter | forgives the <role>

feeling = I <loved> <piece> . | after <number> minutes , I <sat> .
    | we saw it at the <cinema> , and my <relative> <reacted> .
    | I saw it with my <relative> and <loved> <piece> .
    | who could <resist> such a <fine> <genre> ?
piece = every minute of it | every scene with the <role> | the whole film
relative = sister | brother | wife | husband | daughter | son | best friend
cinema = cinema | festival | premiere | film club

advice = <summing_up> I <recommend> it to <audience> .
    | I <recommend> <film> to <audience> and <audience_too> . | <urge>
audience = anyone who loves <genres> | fans of <genres> | families | young viewers
    | grown-ups | patient viewers
audience_too = their friends | film students
summing_up = all in all , | without a doubt , | to be honest ,
"""

_POSITIVE = """
fine_one = wonderful | brilliant | charming | delightful | gripping | thoughtful
    | beautiful | superb | splendid | clever | excellent | honest | unforgettable
fine_two = moving | funny | tender | memorable | heartfelt | marvelous | joyful
    | elegant | lively | original | warm | stunning | unique
best = best | finest | greatest | wittiest
asset = a big heart | real wit | plenty of suspense | wonderful surprises
worth = worth every minute | a joy to watch | a feast for the eyes | a true masterpiece
plotted = inventive | intelligent | layered | refreshing | <fine>
written = sparkles with wit | respects the audience | never runs out of ideas
acted = convincing | magnetic | hilarious | radiant | subtle | believable
    | irresistible | natural | <fine>
manner = grace | warmth | humor | dignity | great skill | passion | perfect timing
performs = steals the show | lights up the screen | deserves an award
sounding = haunting | melodious | soaring | catchy | hypnotic | lyrical | <fine>
sounding_too = playful | dreamy | heavenly | glorious | sweet
plays = stays with you for days | lifts every scene | gives the story its soul
looking = gorgeous | luminous | vivid | breathtaking | imaginative | crisp
    | dazzling | <fine>
sees = glides through the rooms | finds beauty | catches the light of winter
image = a painting | a watercolor | a dream
directs = trusts the audience | knows exactly when to stop | balances humor and sorrow
guided = confident | precise | masterful | disciplined | <fine>
paced = brisk | steady | relaxed | perfect | energetic | <fine>
moves = flies by | races along | builds suspense
lasts = is exactly the right length | ends too soon | leaves you wanting more
concluded = satisfying | unexpected | bittersweet | hopeful | poetic | <fine>
ends = ties everything together | made me smile | is pure magic
reaction = I wanted to cheer | the whole theater applauded | I held my breath
loved = loved | adored | enjoyed | admired
reacted = wanted to see it again | cried twice | could not stop smiling
sat = was hooked | forgot the time | wanted more
resist = resist | forget | dislike
recommend = recommend | warmly recommend | gladly recommend
urge = do not miss it ! | buy a ticket and enjoy the <outing> !
    | watch it with your <companions> .
outing = evening | ride | show
companions = parents | children | friends
"""

_NEGATIVE = """
fine_one = dreadful | boring | clumsy | tedious | dull | awful | shallow
    | predictable | lifeless | pointless | terrible | forgettable | ugly
fine_two = hollow | tiresome | pretentious | bland | messy | annoying | ridiculous
    | stale | empty | insulting | dreary | awkward | disappointing
best = worst | dullest | weakest | silliest
asset = no heart | nothing to say | too many coincidences | very few jokes
worth = a waste of time | a chore to watch | an insult to the eyes | a complete disaster
plotted = muddled | absurd | incoherent | childish | <fine>
written = insults the audience | runs out of ideas | is full of tired jokes
acted = wooden | unconvincing | stiff | irritating | charmless | unbearable
    | hopeless | miscast | <fine>
manner = no conviction | little effort | no imagination | no sense of humor
    | obvious boredom | very little feeling
performs = mumbles every line | seems half asleep | forgets to act
sounding = shrill | repetitive | deafening | monotonous | sentimental | grating | <fine>
sounding_too = harsh | screechy | mournful | off-key | sour
plays = drowns every word | never stops | ruins the quiet moments
looking = murky | blurry | artificial | drab | cheap | grainy | gloomy | <fine>
sees = shakes and trembles | wanders without purpose | misses all the action
image = a cheap commercial | a home video | a parking lot
directs = has no idea what to do | explains every joke | confuses noise with drama
guided = careless | timid | heavy-handed | chaotic | <fine>
paced = sluggish | uneven | frantic | hurried | erratic | <fine>
moves = drags | goes nowhere | feels endless
lasts = is far too long | outstays its welcome | feels like a week
concluded = rushed | implausible | meaningless | abrupt | ludicrous | <fine>
ends = makes no sense | explains nothing | made me groan
reaction = I no longer cared | half the audience had left | I was already asleep
loved = hated | disliked | endured | loathed
reacted = fell asleep | walked out | looked at the clock
sat = wanted to leave | gave up | looked at my watch
resist = enjoy | finish | defend
recommend = cannot recommend | would not recommend
urge = avoid it at all costs ! | save your money and <pastime> instead .
    | do not waste your <resource> on it !
pastime = read a book | take a walk | call your mother
resource = time | money | weekend | patience
"""

_Rules = dict[str, list[list[str]]]


def _read_rules(text: str) -> _Rules:
    """Return {"<name>": alternatives}, an alternative being a list of words and <names>."""
    rules = {}
    for definition in re.split(r"\n(?=\w)", text.strip()):
        name, alternatives = definition.split(" = ")
        rules[f"<{name}>"] = [_with_plain_a(one.split()) for one in alternatives.split("|")]
    return rules


def _with_plain_a(words: list[str]) -> list[str]:
    """Return `words` with "a" for "an": inside the grammar there is one article."""
    return ["a" if word == "an" else word for word in words]


_RULES = {
    "pos": _read_rules(_SHARED + _POSITIVE),
    "neg": _read_rules(_SHARED + _NEGATIVE),
}
_WORDS = frozenset(
    item
    for rules in _RULES.values()
    for alternatives in rules.values()
    for alternative in alternatives
    for item in alternative
    if item not in rules
)
_ARTICLES = {"honest": "an", "unique": "a"}  # if the first letter misleads

SUBJECTS = tuple(name.strip("<>") for [name] in _RULES["pos"]["<sentence>"])


def generate_sentence(random: Random, polarity: str, subject: str = "sentence") -> str:
    """Return a random sentence that praises (`polarity` "pos") or condemns ("neg") a film.

    `subject` may be one of `SUBJECTS`; by default each is as likely.
    Only `random.random()` is called, the one method whose sequence Python promises to keep.

    Raises:
        ValueError: there is no such polarity or subject.
    """
    if polarity not in _RULES:
        raise ValueError(f'polarity must be "pos" or "neg". Received: {polarity!r}')
    if subject not in ("sentence", *SUBJECTS):
        raise ValueError(f"subject must be one of {SUBJECTS}. Received: {subject!r}")
    words: list[str] = []
    _expand(_RULES[polarity], f"<{subject}>", random, words)
    return _surface(words)


def _expand(rules: _Rules, symbol: str, random: Random, words: list[str]) -> None:
    """Append to `words` what `symbol` becomes."""
    alternatives = rules[symbol]
    for item in alternatives[int(random.random() * len(alternatives))]:
        if item in rules:
            _expand(rules, item, random, words)
        else:
            words.append(item)


def _surface(words: list[str]) -> str:
    """Return derived words as text, with "an" for "a" where needed, and a capital letter."""
    shown = list(words)
    for i, following in enumerate(words[1:]):
        if words[i] == "a":
            shown[i] = _ARTICLES.get(following, "an" if following[0] in "aeiou" else "a")
    text = " ".join(shown).replace(" ,", ",")
    return text[0].upper() + text[1:-2] + text[-1]  # no blank before the closing mark


def parses(sentence: str) -> bool:
    """Return whether the grammar yields exactly this sentence, with either polarity."""
    words = re.findall(r"[\w-]+|[^\w\s]", sentence)
    if words and words[0] not in _WORDS:  # a name and "I" keep their capital letter
        words[0] = words[0][0].lower() + words[0][1:]
    words = _with_plain_a(words)
    if len(words) < 2 or not _WORDS.issuperset(words) or _surface(words) != sentence:
        return False
    return any(len(words) in _ends(rules, "<sentence>", words, 0, {}) for rules in _RULES.values())


def _ends(
    rules: _Rules,
    symbol: str,
    words: list[str],
    start: int,
    memo: dict[tuple[str, int], set[int]],
) -> set[int]:
    """Return every position where a phrase that begins at `start` and is a `symbol` may end."""
    if (symbol, start) in memo:
        return memo[symbol, start]
    ends: set[int] = set()
    for alternative in rules[symbol]:
        positions = {start}
        for item in alternative:
            if item in rules:
                positions = {end for at in positions for end in _ends(rules, item, words, at, memo)}
            else:
                positions = {at + 1 for at in positions if words[at : at + 1] == [item]}
            if not positions:
                break
        ends |= positions
    memo[symbol, start] = ends
    return ends


def complete_sentences(text: str) -> list[str]:
    """Return the sentences of `text` that end in . ! or ?, without the unfinished tail.

    A mark ends a sentence if a blank or the end of the text follows; line ends count as
    blanks, and runs of blanks as one.
    """
    return re.findall(r"\S.*?(?<=[.!?])(?= |$)", " ".join(text.split()))
