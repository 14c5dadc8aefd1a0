"""Abbreviations that are written with a full stop: what each is read as, and which ones hold a sentence together."""

from mamtra.text.english.wordlists import listed

TITLES = {
    "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Dr": "Doctor", "Prof": "Professor", "Lt": "Lieutenant",
    "Col": "Colonel", "Capt": "Captain", "Gov": "Governor", "Sen": "Senator", "Rep": "Representative",
    "Sgt": "Sergeant", "Gen": "General", "Maj": "Major", "Cpl": "Corporal", "Cmdr": "Commander", "Adm": "Admiral",
    "Rev": "Reverend", "Hon": "Honorable", "Fr": "Father", "Pres": "President", "Supt": "Superintendent",
    "Mt": "Mount", "Ft": "Fort", "St": "Saint", "Pvt": "Private", "Msgr": "Monsignor", "Messrs": "Messers",
    "Drs": "Doctors", "Profs": "Professors", "Sens": "Senators", "Reps": "Representatives", "Mmes": "Mesdames",
    "Sts": "Saints", "Mme": "Madame", "Mlle": "Mademoiselle", "Sra": "Senora", "Ald": "Alderman",
}  # fmt: skip
STREETS = {
    "St": "Street", "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Ln": "Lane", "Dr": "Drive", "Ct": "Court",
    "Pl": "Place", "Sq": "Square", "Hwy": "Highway", "Pkwy": "Parkway", "Ter": "Terrace", "Mt": "Mountain",
    "Apt": "Apartment",
}  # fmt: skip
ANYWHERE = {
    "Jr": "Junior", "Sr": "Senior", "Co": "Company", "Inc": "Incorporated", "Ltd": "Limited", "Corp": "Corporation",
    "Bros": "Brothers", "Assn": "Association", "Dept": "Department", "dept": "department", "Univ": "University",
    "etc": "et cetera", "vs": "versus", "approx": "approximately", "appt": "appointment", "est": "estimated",
    "Est": "established", "Vol": "Volume", "vol": "volume", "Ch": "Chapter", "ch": "chapter", "pp": "pages",
    "Fig": "Figure", "fig": "figure", "max": "maximum", "misc": "miscellaneous", "al": "al", "Gov't": "Government",
    "govt": "government", "temp": "temperature", "Ave": "Avenue", "Blvd": "Boulevard", "Hwy": "Highway",
    "Pkwy": "Parkway", "Apt": "Apartment", "cf": "compare", "ca": "circa", "Esq": "Esquire", "Rte": "Route",
    "ext": "extension", "tel": "telephone", "Tel": "Telephone", "Assoc": "Association", "Intl": "International",
    "Natl": "National", "Bldg": "Building", "bldg": "building", "Dist": "District", "min": "minimum", "incl": "including",
    "esp": "especially", "viz": "namely", "avg": "average", "Eq": "Equation", "eq": "equation", "Figs": "Figures",
    "figs": "figures", "vols": "volumes", "attn": "attention", "Attn": "Attention", "mgr": "manager", "asst": "assistant",
    "Approx": "Approximately", "Mfg": "Manufacturing", "Ste": "Suite", "feat": "featuring", "Feat": "Featuring",
}  # fmt: skip
DOTTED = {
    "e.g": "for example", "i.e": "that is", "N.Y": "New York", "N.J": "New Jersey", "N.C": "North Carolina",
    "S.C": "South Carolina", "N.D": "North Dakota", "S.D": "South Dakota", "N.H": "New Hampshire",
    "N.M": "New Mexico", "R.I": "Rhode Island", "W.Va": "West Virginia", "p.s": "P-S",
}  # fmt: skip
STATES = {
    "Ala": "Alabama", "Ariz": "Arizona", "Ark": "Arkansas", "Calif": "California", "Colo": "Colorado",
    "Conn": "Connecticut", "Del": "Delaware", "Fla": "Florida", "Ga": "Georgia", "Ill": "Illinois", "Ind": "Indiana",
    "Kan": "Kansas", "Ky": "Kentucky", "La": "Louisiana", "Mass": "Massachusetts", "Md": "Maryland",
    "Mich": "Michigan", "Minn": "Minnesota", "Miss": "Mississippi", "Mo": "Missouri", "Mont": "Montana",
    "Neb": "Nebraska", "Nev": "Nevada", "Okla": "Oklahoma", "Ore": "Oregon", "Pa": "Pennsylvania",
    "Tenn": "Tennessee", "Tex": "Texas", "Va": "Virginia", "Vt": "Vermont", "Wash": "Washington", "Wis": "Wisconsin",
    "Wyo": "Wyoming",
}  # fmt: skip
POSTAL = dict(
    pair.split(":")
    for pair in listed(
        "AL:Alabama AK:Alaska AZ:Arizona AR:Arkansas CA:California CO:Colorado CT:Connecticut DE:Delaware "
        "FL:Florida GA:Georgia HI:Hawaii ID:Idaho IL:Illinois IN:Indiana IA:Iowa KS:Kansas KY:Kentucky LA:Louisiana "
        "ME:Maine MD:Maryland MA:Massachusetts MI:Michigan MN:Minnesota MS:Mississippi MO:Missouri "
        "MT:Montana NE:Nebraska "
        "NV:Nevada NH:New_Hampshire NJ:New_Jersey NM:New_Mexico NY:New_York NC:North_Carolina ND:North_Dakota OH:Ohio "
        "OK:Oklahoma OR:Oregon PA:Pennsylvania RI:Rhode_Island SC:South_Carolina SD:South_Dakota TN:Tennessee TX:Texas "
        "UT:Utah VT:Vermont VA:Virginia WA:Washington WV:West_Virginia WI:Wisconsin WY:Wyoming"
    )
)

BEFORE_NAMES = frozenset(TITLES) - frozenset(STREETS) | frozenset(listed("Mmes Drs Mlle Mme Sra Rt Sens Reps"))
"""Titles: such a full stop never ends a sentence."""
BEFORE_NUMBERS = frozenset(
    listed(
        "No NO no Nos nos Art art Sec sec Op op Pt Rs Sat Sun Wed Exod Lev Deut Josh Judg Kgs Chron Neh Ps Prov Eccl Isa "
        "Jer Lam Ezek Hos Obad Mic Hab Zeph Zech Mk Lk Jn Rom Cor Gal Eph Thess Philem Heb Pet"
    )
)
"""Words of their own too: such a full stop ends a sentence unless a number follows."""
BEFORE_MORE = frozenset(listed("e.g i.e vs cf ca viz approx esp incl fl nr feat"))
"""Followed by what they introduce: such a full stop does not end a sentence."""
MAY_END = (frozenset(STREETS) | frozenset(ANYWHERE) | frozenset(STATES) | frozenset(
    listed(
        "tsp tbsp Tbsp oz lb lbs qt qts pt pts gal ft yd yds hr hrs min mins secs wk wks mo mos yr yrs km cm mm kg mg mph "
        "dr sq Mon Jan Feb Mar Apr Jun Jul Aug Sept Oct Nov Dec Tue Tues Wed Thu Thur Thurs Fri figs Figs vols Vols chs pp p Eq eq "
        "Assoc assoc Dist dist Ed eds Eng Intl intl Inst inst Natl natl Soc bldg Bldg rm Rm mgr Mgr asst Asst acct div Div "
        "anon orig repr transl Ibid ibid adj adv attn Attn avg Bart Cantab Oxon"
    )
)) - BEFORE_MORE - BEFORE_NAMES  # fmt: skip
"""Such a full stop ends a sentence only where a word of `STARTERS` follows."""
STARTERS = frozenset(
    listed(
        "The They He She It We I This That These Those There Then But And In On At You When What My His Her Our So "
        "If As For After Before Not Yes How Why Where While Did Do Does Is Are Was Were Can Could Would Will Should A An "
        "Although Because However Meanwhile Its Their Your Some Many Most All Each Every Both One Only Even Now Here Let "
        "Today Yesterday Tomorrow With From By To Of Please Nobody Someone Everyone Another Finally Once Since Until Or"
    )
)
"""Capitalised words that begin a sentence more often than they follow an abbreviation inside one."""
