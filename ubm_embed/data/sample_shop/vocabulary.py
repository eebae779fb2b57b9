"""The words of the sample shop beside its types of product: brands, product lines, attribute values. All made up."""

from __future__ import annotations

from dataclasses import dataclass


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

# fmt: off
VALUES: dict[str, tuple[str, ...]] = {
    "colour": (
        "black", "white", "blue", "grey", "red", "green", "brown", "beige", "pink", "yellow", "orange", "purple",
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
# fmt: on
