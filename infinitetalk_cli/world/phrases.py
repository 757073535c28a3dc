"""Everyday words of nine languages, from which random sentences are built.

Every fifth word of a language (see `held_out`) is never used in training, and Polish not at all.
"""

from __future__ import annotations

import random

WORDS: dict[str, tuple[str, ...]] = {
    "en": tuple(
        "the a my your we they you people water house morning evening music river friend window mother father "
        "paper summer winter maybe always never before because about people beautiful apple bread butter "
        "market garden money problem question answer number minute moment Monday simple welcome remember "
        "thank hello goodbye please open close bring follow move believe improve leave live love very over "
        "under warm cool room food blue green yellow purple brown small big high low world word work walk "
        "talk speak voice picture film movie family dinner breakfast coffee shop ship sheep chair three "
        "think weather another brother together bubble baby pepper maximum computer program important "
        "possible impossible available wonderful amazing yesterday tomorrow afternoon information".split()
    ),
    "fr": tuple(
        "le la une mon votre nous vous bonjour merci beaucoup maison matin soir musique ami amie porte "
        "fenêtre père mère papier été hiver peut-être toujours jamais avant parce beau belle pomme pain "
        "beurre marché jardin argent problème question réponse nombre minute moment lundi simple bienvenue "
        "souvenir ouvrir fermer apporter suivre bouger croire partir vivre aimer chaud froid bleu vert jaune "
        "rouge petit grand haut bas monde mot travail marcher parler voix image film famille dîner déjeuner "
        "café bateau chaise trois penser temps autre frère ensemble bébé poivre ordinateur important "
        "possible impossible merveilleux hier demain information rue lune deux heureux fleur peur".split()
    ),
    "de": tuple(
        "der die das mein dein wir ihr Leute Wasser Haus Morgen Abend Musik Fluss Freund Fenster Mutter Vater "
        "Papier Sommer Winter vielleicht immer niemals bevor weil schön Apfel Brot Butter Markt Garten Geld "
        "Problem Frage Antwort Nummer Minute Moment Montag einfach willkommen erinnern danke hallo bitte "
        "öffnen schließen bringen folgen bewegen glauben leben lieben warm kühl Raum Essen blau grün gelb "
        "braun klein groß hoch Welt Wort Arbeit laufen sprechen Stimme Bild Film Familie Kaffee Schiff Stuhl "
        "drei denken Wetter andere Bruder zusammen Baby Pfeffer Computer Programm wichtig möglich unmöglich "
        "wunderbar gestern heute Nachmittag über unter für Tür Möwe".split()
    ),
    "es": tuple(
        "el la mi tu nosotros ustedes gente agua casa mañana noche música río amigo ventana madre padre papel "
        "verano invierno quizás siempre nunca antes porque hermoso manzana pan mantequilla mercado jardín "
        "dinero problema pregunta respuesta número minuto momento lunes simple bienvenido recordar gracias "
        "hola adiós favor abrir cerrar traer seguir mover creer vivir amar caliente frío cuarto comida azul "
        "verde amarillo marrón pequeño grande alto bajo mundo palabra trabajo caminar hablar voz imagen "
        "película familia café barco silla tres pensar tiempo otro hermano juntos bebé pimienta importante "
        "posible imposible maravilloso ayer hoy tarde información".split()
    ),
    "it": tuple(
        "il la mio tuo noi voi gente acqua casa mattina sera musica fiume amico finestra madre padre carta "
        "estate inverno forse sempre mai prima perché bello mela pane burro mercato giardino soldi problema "
        "domanda risposta numero minuto momento lunedì semplice benvenuto ricordare grazie ciao prego aprire "
        "chiudere portare seguire muovere credere vivere amare caldo freddo camera cibo blu verde giallo "
        "marrone piccolo grande alto basso mondo parola lavoro camminare parlare voce immagine film famiglia "
        "caffè nave sedia tre pensare tempo altro fratello insieme bambino pepe importante possibile "
        "impossibile meraviglioso ieri oggi pomeriggio informazione".split()
    ),
    "pt": tuple(
        "a meu teu nós vocês gente água casa manhã noite música rio amigo janela mãe pai papel verão inverno talvez "
        "sempre nunca antes porque bonito maçã pão manteiga mercado jardim dinheiro problema pergunta resposta "
        "número minuto momento simples lembrar obrigado olá adeus favor abrir fechar trazer seguir mover viver "
        "amar quente frio quarto comida azul verde amarelo castanho pequeno grande alto baixo mundo palavra trabalho "
        "caminhar falar voz imagem filme família jantar barco cadeira três pensar tempo outro irmão juntos bebé "
        "pimenta importante possível impossível maravilhoso ontem hoje tarde coração".split()
    ),
    "nl": tuple(
        "de het mijn jouw wij jullie mensen water huis morgen avond muziek rivier vriend raam moeder vader papier "
        "zomer winter misschien altijd nooit voordat omdat mooi appel brood boter markt tuin geld probleem vraag "
        "antwoord nummer minuut moment maandag eenvoudig welkom onthouden bedankt hallo alsjeblieft openen sluiten "
        "brengen volgen bewegen geloven leven houden warm koud kamer eten blauw groen geel bruin klein groot hoog "
        "wereld woord werk lopen spreken stem beeld film familie koffie schip stoel drie denken weer ander broer "
        "samen baby peper belangrijk mogelijk onmogelijk prachtig gisteren vandaag middag boven onder deur".split()
    ),
    "sv": tuple(
        "den det min din vi ni folk vatten hus morgon kväll musik flod vän fönster mamma pappa papper sommar vinter "
        "kanske alltid aldrig innan eftersom vacker äpple bröd smör marknad trädgård pengar problem fråga svar "
        "nummer minut ögonblick måndag enkel välkommen minnas tack hej snälla öppna stänga följa röra tro leva "
        "älska varm kall rum mat blå grön gul brun liten stor hög värld ord arbete gå tala röst bild film familj "
        "kaffe båt stol tre tänka väder annan bror tillsammans barn peppar viktig möjlig omöjlig underbar igår "
        "idag eftermiddag över under dörr".split()
    ),
    "pl": tuple(
        "dom woda rano wieczór muzyka rzeka przyjaciel okno matka ojciec papier lato zima może zawsze nigdy "
        "przed ponieważ piękny jabłko chleb masło rynek ogród pieniądze problem pytanie odpowiedź numer "
        "minuta moment prosty witamy pamiętać dziękuję cześć proszę otworzyć zamknąć przynieść wierzyć żyć "
        "kochać ciepły zimny pokój jedzenie niebieski zielony żółty mały duży świat słowo praca mówić głos "
        "obraz film rodzina kawa statek trzy myśleć pogoda inny brat razem ważny możliwy wczoraj dzisiaj".split()
    ),
}
"""Words by espeak-ng voice name of the language."""

TRAINING_LANGUAGES = ("en", "fr", "de", "es", "it", "pt", "nl", "sv")
TEST_LANGUAGES = ("en", "fr", "de")
"""Languages of the training set in which tests are spoken too, in words that training never hears."""
HELD_OUT_LANGUAGE = "pl"
HELD_OUT_EVERY = 5


def vocabulary(language: str, held_out: bool) -> tuple[str, ...]:
    """Words of `language` that only tests may use (`held_out`), or those that training may use."""
    if language == HELD_OUT_LANGUAGE:
        return WORDS[language] if held_out else ()
    words = tuple(dict.fromkeys(WORDS[language]))
    return tuple(word for i, word in enumerate(words) if (i % HELD_OUT_EVERY == 3) == held_out)


def sentence(rng: random.Random, language: str, held_out: bool) -> str:
    """Four to eight words in random order, with a comma now and then and a mark at the end."""
    words = rng.choices(vocabulary(language, held_out), k=rng.randint(4, 8))
    if len(words) > 5 and rng.random() < 0.4:
        words[len(words) // 2] += ","
    return " ".join(words) + rng.choice(".. . ? !".split())
