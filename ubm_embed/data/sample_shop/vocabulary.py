"""The words of the sample shop: what it sells, under which brands, and how its shoppers say it. All of it made up.

Few and common words on purpose: a small WordPiece vocabulary covers them, and a CPU reads the short texts quickly.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProductType:
    """A kind of product.

    Attributes:
        category: as the shop writes it, "Department > Group"; several types may share one.
        name: as titles have it.
        also: what shoppers type instead of the name.
        attributes: two or three names out of `VALUES`; the first is the style, which titles show.
        price: of a middling one from a middling brand.
        complements: names of types that belong in the same cart.
    """

    category: str
    name: str
    also: tuple[str, ...]
    attributes: tuple[str, ...]
    price: float
    complements: tuple[str, ...] = ()

    @property
    def department(self) -> str:
        """First part of the category."""
        return self.category.split(" > ")[0]


@dataclass(frozen=True, slots=True)
class Brand:
    """A brand: `tier` scales its prices, around 1."""

    name: str
    tier: float
    departments: tuple[str, ...]


BRANDS = (
    Brand("Norvik", 1.5, ("Shoes", "Clothing", "Outdoor")),
    Brand("Tarno", 0.65, ("Shoes", "Clothing", "Fitness")),
    Brand("Veloma", 1.0, ("Shoes", "Clothing", "Fitness")),
    Brand("Skarn", 1.9, ("Shoes", "Outdoor")),
    Brand("Pavelo", 0.8, ("Shoes", "Clothing")),
    Brand("Ridgewell", 1.2, ("Shoes", "Clothing", "Outdoor")),
    Brand("Ottomar", 1.4, ("Shoes", "Clothing")),
    Brand("Lumera", 1.0, ("Clothing", "Home", "Beauty")),
    Brand("Kestrin", 0.7, ("Outdoor", "Fitness")),
    Brand("Hallow", 1.0, ("Outdoor", "Fitness")),
    Brand("Brenta", 1.25, ("Outdoor", "Kitchen")),
    Brand("Fjordic", 1.7, ("Outdoor", "Home")),
    Brand("Strivo", 1.4, ("Fitness",)),
    Brand("Pulsera", 1.8, ("Fitness", "Electronics")),
    Brand("Corelli", 1.6, ("Kitchen",)),
    Brand("Mornay", 0.7, ("Kitchen", "Home")),
    Brand("Tazzo", 1.0, ("Kitchen",)),
    Brand("Brasko", 0.85, ("Kitchen", "Home")),
    Brand("Ferrano", 1.9, ("Kitchen",)),
    Brand("Oakley Farm", 1.15, ("Kitchen", "Home")),
    Brand("Voltix", 0.65, ("Electronics",)),
    Brand("Nexon", 1.0, ("Electronics",)),
    Brand("Aurion", 1.8, ("Electronics", "Home")),
    Brand("Clario", 1.2, ("Electronics",)),
    Brand("Zentra", 0.8, ("Electronics",)),
    Brand("Quillon", 1.45, ("Electronics",)),
    Brand("Solenne", 1.7, ("Beauty",)),
    Brand("Verdana", 1.0, ("Beauty", "Home")),
    Brand("Puraka", 0.7, ("Beauty",)),
    Brand("Milou", 1.25, ("Beauty",)),
    Brand("Derma Nord", 1.5, ("Beauty",)),
    Brand("Rosehill", 0.85, ("Beauty", "Home")),
)

# Names of product lines; with a number after it, a title stays nearly unique among a million.
# fmt: off
LINES = (
    "Alta", "Arc", "Atlas", "Aura", "Basin", "Breeze", "Canyon", "Cedar", "Comet", "Coral",
    "Crest", "Delta", "Dune", "Echo", "Ember", "Falcon", "Fern", "Flint", "Glade", "Globe",
    "Harbor", "Haven", "Iris", "Jade", "Juno", "Keel", "Lake", "Leaf", "Lotus", "Luna",
    "Maple", "Meadow", "Mesa", "Mist", "Nova", "Oasis", "Onyx", "Opal", "Orbit", "Peak",
    "Pebble", "Pilot", "Pine", "Plume", "Prime", "Quest", "Rapid", "Reef", "Ridge", "River",
    "Sage", "Shore", "Solar", "Spark", "Summit", "Swift", "Terra", "Tide", "Vale", "Wave",
)
# fmt: on

VALUES: dict[str, tuple[str, ...]] = {
    "colour": (
        "black",
        "white",
        "blue",
        "grey",
        "red",
        "green",
        "brown",
        "beige",
        "pink",
        "yellow",
        "orange",
        "purple",
    ),
    "upper": ("mesh", "leather", "suede", "canvas", "knit"),
    "fabric": ("cotton", "wool", "linen", "polyester", "silk", "fleece"),
    "shoe size": ("37", "38", "39", "40", "41", "42", "43", "44", "45"),
    "size": ("small", "medium", "large", "extra large"),
    "feature": ("waterproof", "light", "breathable", "padded", "foldable", "wide"),
    "material": ("steel", "wood", "plastic", "aluminium", "bamboo", "rubber"),
    "finish": ("matte", "glossy", "brushed", "hammered"),
    "roast": ("light roast", "medium roast", "dark roast", "espresso roast", "decaf"),
    "origin": ("Brazil", "Colombia", "Ethiopia", "Kenya", "Peru"),
    "weight": ("250 g", "500 g", "1 kg", "2 kg", "5 kg"),
    "power": ("10 W", "20 W", "30 W", "65 W", "100 W"),
    "storage": ("64 GB", "128 GB", "256 GB", "512 GB"),
    "fit": ("slim", "rugged", "clear", "wallet"),
    "connection": ("wireless", "wired", "magnetic"),
    "thickness": ("4 mm", "6 mm", "8 mm", "15 mm"),
    "length": ("20 cm", "26 cm", "30 cm"),
    "volume": ("50 ml", "100 ml", "250 ml", "500 ml"),
    "bottle size": ("500 ml", "750 ml", "1 l"),
    "capacity": ("20 l", "30 l", "40 l", "60 l"),
    "pack": ("pack of 3", "pack of 4", "pack of 12"),
    "persons": ("one person", "two person", "four person"),
    "warmth": ("warm white", "cool white", "daylight", "amber"),
    "scent": ("lavender", "vanilla", "citrus", "rose", "sandalwood", "mint", "unscented"),
    "skin": ("dry skin", "oily skin", "sensitive skin", "all skin"),
    "hair": ("dry hair", "fine hair", "curly hair", "coloured hair"),
}

TYPES = (
    ProductType(
        "Shoes > Running",
        "trail running shoes",
        ("trail runners", "running shoes"),
        ("colour", "upper", "shoe size"),
        110,
        ("sports socks", "running belt"),
    ),
    ProductType(
        "Shoes > Running",
        "road running shoes",
        ("running shoes", "joggers"),
        ("colour", "upper", "shoe size"),
        105,
        ("sports socks", "running tights"),
    ),
    ProductType(
        "Shoes > Casual",
        "canvas sneakers",
        ("sneakers", "plimsolls"),
        ("colour", "shoe size"),
        60,
        ("everyday socks", "shoe care kit"),
    ),
    ProductType(
        "Shoes > Casual",
        "slip-on loafers",
        ("loafers", "slip ons"),
        ("colour", "upper", "shoe size"),
        85,
        ("shoe care kit", "leather belt"),
    ),
    ProductType(
        "Shoes > Boots",
        "hiking boots",
        ("walking boots", "mountain boots"),
        ("colour", "upper", "shoe size"),
        150,
        ("sports socks", "shoe care kit"),
    ),
    ProductType(
        "Shoes > Boots",
        "ankle boots",
        ("short boots", "boots"),
        ("colour", "upper", "shoe size"),
        120,
        ("shoe care kit", "everyday socks"),
    ),
    ProductType("Shoes > Care", "shoe care kit", ("shoe polish", "shoe cleaner"), ("colour", "material"), 14),
    ProductType(
        "Clothing > Running",
        "running tights",
        ("leggings", "running leggings"),
        ("colour", "size", "feature"),
        45,
        ("sports socks", "running belt"),
    ),
    ProductType("Clothing > Running", "running belt", ("phone belt", "hip belt"), ("colour", "feature"), 22),
    ProductType(
        "Clothing > Jackets",
        "rain jacket",
        ("raincoat", "rain coat"),
        ("colour", "size", "feature"),
        95,
        ("merino sweater",),
    ),
    ProductType(
        "Clothing > Jackets",
        "down jacket",
        ("winter jacket", "puffer"),
        ("colour", "size", "feature"),
        160,
        ("knit beanie",),
    ),
    ProductType(
        "Clothing > Tops", "merino sweater", ("wool jumper", "pullover"), ("colour", "size"), 75, ("knit beanie",)
    ),
    ProductType("Clothing > Tops", "linen shirt", ("summer shirt", "shirt"), ("colour", "size"), 50, ("leather belt",)),
    ProductType("Clothing > Accessories", "sports socks", ("running socks", "socks"), ("colour", "fabric", "size"), 12),
    ProductType("Clothing > Accessories", "everyday socks", ("socks", "cotton socks"), ("colour", "fabric", "size"), 9),
    ProductType("Clothing > Accessories", "leather belt", ("belt",), ("colour", "size"), 35),
    ProductType("Clothing > Accessories", "knit beanie", ("winter hat", "hat"), ("colour", "fabric"), 20),
    ProductType(
        "Kitchen > Coffee",
        "espresso machine",
        ("coffee machine", "espresso maker"),
        ("colour", "finish", "power"),
        420,
        ("coffee beans", "coffee grinder", "milk frother"),
    ),
    ProductType(
        "Kitchen > Coffee",
        "coffee grinder",
        ("bean grinder", "coffee mill"),
        ("colour", "material"),
        95,
        ("coffee beans",),
    ),
    ProductType("Kitchen > Coffee", "milk frother", ("milk foamer", "frother"), ("colour", "power"), 38),
    ProductType("Kitchen > Coffee", "coffee beans", ("whole bean coffee", "coffee"), ("roast", "origin", "weight"), 15),
    ProductType(
        "Kitchen > Cooking", "frying pan", ("skillet", "pan"), ("colour", "finish", "length"), 48, ("spatula set",)
    ),
    ProductType(
        "Kitchen > Cooking",
        "chef knife",
        ("kitchen knife", "cook knife"),
        ("colour", "finish", "length"),
        70,
        ("cutting board", "knife sharpener"),
    ),
    ProductType("Kitchen > Cooking", "cutting board", ("chopping board",), ("colour", "material"), 30),
    ProductType("Kitchen > Cooking", "knife sharpener", ("sharpening stone", "sharpener"), ("colour", "material"), 24),
    ProductType("Kitchen > Cooking", "spatula set", ("turner", "cooking spoons"), ("colour", "material"), 18),
    ProductType(
        "Electronics > Phones",
        "smartphone",
        ("mobile phone", "phone"),
        ("colour", "storage"),
        480,
        ("phone case", "screen protector", "fast charger"),
    ),
    ProductType(
        "Electronics > Phones",
        "phone case",
        ("phone cover", "mobile case"),
        ("colour", "fit", "material"),
        22,
        ("screen protector",),
    ),
    ProductType("Electronics > Phones", "screen protector", ("screen glass", "display film"), ("colour", "fit"), 13),
    ProductType(
        "Electronics > Power",
        "fast charger",
        ("usb charger", "charging plug"),
        ("colour", "power"),
        28,
        ("power bank",),
    ),
    ProductType(
        "Electronics > Power", "power bank", ("portable charger", "battery pack"), ("colour", "power", "connection"), 42
    ),
    ProductType(
        "Electronics > Audio",
        "wireless earbuds",
        ("earbuds", "in ear headphones"),
        ("colour", "feature"),
        110,
        ("earbuds pouch",),
    ),
    ProductType(
        "Electronics > Audio", "studio headphones", ("headphones", "over ear headphones"), ("colour", "connection"), 150
    ),
    ProductType("Electronics > Audio", "earbuds pouch", ("headphone case", "earbuds case"), ("colour", "material"), 15),
    ProductType(
        "Electronics > Office",
        "mechanical keyboard",
        ("keyboard", "gaming keyboard"),
        ("colour", "connection"),
        95,
        ("computer mouse", "desk pad"),
    ),
    ProductType(
        "Electronics > Office", "computer mouse", ("mouse", "gaming mouse"), ("colour", "connection"), 45, ("desk pad",)
    ),
    ProductType("Electronics > Office", "desk pad", ("mouse mat", "mouse pad"), ("colour", "size"), 17),
    ProductType(
        "Fitness > Yoga",
        "yoga mat",
        ("exercise mat", "gym mat"),
        ("colour", "thickness"),
        38,
        ("yoga block", "foam roller"),
    ),
    ProductType("Fitness > Yoga", "yoga block", ("yoga brick",), ("colour", "material"), 13),
    ProductType("Fitness > Training", "foam roller", ("massage roller", "roller"), ("colour", "length"), 26),
    ProductType(
        "Fitness > Training",
        "dumbbell pair",
        ("dumbbells", "hand weights"),
        ("colour", "weight"),
        45,
        ("training gloves", "yoga mat"),
    ),
    ProductType("Fitness > Training", "training gloves", ("gym gloves", "lifting gloves"), ("colour", "size"), 19),
    ProductType(
        "Fitness > Rackets", "tennis racket", ("racquet", "racket"), ("colour", "size"), 120, ("tennis balls",)
    ),
    ProductType("Fitness > Rackets", "tennis balls", ("tennis ball tube",), ("colour", "pack"), 8),
    ProductType(
        "Outdoor > Camping",
        "camping tent",
        ("tent", "trekking tent"),
        ("colour", "persons", "feature"),
        210,
        ("sleeping bag", "headlamp"),
    ),
    ProductType(
        "Outdoor > Camping",
        "sleeping bag",
        ("down sleeping bag", "camp bed"),
        ("colour", "size"),
        110,
        ("camping mat",),
    ),
    ProductType("Outdoor > Camping", "camping mat", ("sleeping pad", "air mattress"), ("colour", "thickness"), 55),
    ProductType("Outdoor > Camping", "headlamp", ("head torch", "head light"), ("colour", "power"), 34),
    ProductType(
        "Outdoor > Hiking",
        "hiking backpack",
        ("rucksack", "backpack"),
        ("colour", "capacity", "feature"),
        125,
        ("water bottle", "trekking poles"),
    ),
    ProductType("Outdoor > Hiking", "trekking poles", ("walking sticks", "hiking poles"), ("colour", "material"), 62),
    ProductType(
        "Outdoor > Hiking", "water bottle", ("drinking bottle", "flask"), ("colour", "material", "bottle size"), 21
    ),
    ProductType("Home > Lighting", "table lamp", ("desk lamp", "lamp"), ("colour", "material"), 58, ("light bulb",)),
    ProductType("Home > Lighting", "light bulb", ("led bulb", "bulb"), ("warmth", "power"), 9),
    ProductType(
        "Home > Bedroom",
        "duvet cover",
        ("bed linen", "quilt cover"),
        ("colour", "fabric", "size"),
        65,
        ("pillow case", "wool blanket"),
    ),
    ProductType("Home > Bedroom", "pillow case", ("pillow cover",), ("colour", "fabric"), 16),
    ProductType("Home > Living", "wool blanket", ("throw", "blanket"), ("colour", "size"), 70, ("throw pillow",)),
    ProductType("Home > Living", "throw pillow", ("cushion", "sofa pillow"), ("colour", "fabric"), 28),
    ProductType("Home > Living", "scented candle", ("candle",), ("scent", "colour"), 19),
    ProductType(
        "Beauty > Skin",
        "face cream",
        ("moisturiser", "day cream"),
        ("skin", "scent", "volume"),
        29,
        ("face serum", "face wash"),
    ),
    ProductType("Beauty > Skin", "face serum", ("serum",), ("skin", "volume"), 36),
    ProductType("Beauty > Skin", "face wash", ("cleanser", "face soap"), ("skin", "scent", "volume"), 15),
    ProductType("Beauty > Hair", "shampoo", ("hair wash",), ("hair", "scent", "volume"), 12, ("conditioner",)),
    ProductType("Beauty > Hair", "conditioner", ("hair balm", "hair mask"), ("hair", "scent", "volume"), 13),
    ProductType("Beauty > Hair", "hair dryer", ("blow dryer", "hairdryer"), ("colour", "power"), 60, ("hair brush",)),
    ProductType("Beauty > Hair", "hair brush", ("brush",), ("colour", "material"), 17),
)
