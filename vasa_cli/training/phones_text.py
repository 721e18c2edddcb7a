"""What the labelled voices say: short sentences written for this project, and made-up words for the sounds they lack.

Keys are espeak-ng's voices ("en" is British). Mandarin is in pinyin with tone numbers, Japanese in kana, Arabic with its vowels.
"""

from __future__ import annotations

import numpy as np

SENTENCES: dict[str, tuple[str, ...]] = {
    "en-us": (
        "My brother bought five big boxes of paper for the museum.",
        "Please put the blue umbrella back beside the open window.",
        "We moved the table before anybody came home for supper.",
        "The weather should improve by the beginning of February.",
        "Could you bring me a cup of warm apple juice?",
        "She usually chooses a fresh pair of shoes for the show.",
        "Maybe the farmer will show us where the wolves have been.",
        "Nobody knew how the painter mixed that beautiful purple.",
        "I would rather go by boat than wait for another bus.",
        "Every morning the bakery smells of butter and vanilla.",
        "Thank you very much for the wonderful evening.",
        "A small robot vacuumed the room while we were away.",
    ),
    "en": (
        "The new bridge over the river was opened by the mayor.",
        "Nothing tastes better than warm bread from the oven.",
        "Would you mind if I borrowed your pen for a moment?",
        "Our neighbours bought a tiny house by the beach.",
        "Boys and girls were playing football on the muddy field.",
        "The judge asked for more proof before he made up his mind.",
        "You should have heard how loudly the bells were ringing.",
        "Five or six people are still waiting for the vote.",
    ),
    "de": (
        "Am Abend spielen wir manchmal im Park mit dem Ball.",
        "Mein Bruder bäckt schöne Brötchen mit Butter und Mohn.",
        "Können Sie mir bitte ein Pfund Pflaumen geben?",
        "Die müden Bären schlafen über Monate in ihrer Höhle.",
        "Früher fuhren wir öfter über die Brücke nach Böhmen.",
        "Ich möchte heute noch einen Brief an meine Mutter schreiben.",
        "Der Wind wehte so stark, dass wir im Haus bleiben mussten.",
        "Vielleicht bekommen wir morgen etwas besseres Wetter.",
    ),
    "cmn-latn-pinyin": (
        "wo3 men2 ming2 tian1 qu4 bei3 jing1 kan4 peng2 you3.",
        "ma1 ma1 zuo4 de5 mian4 bao1 fei1 chang2 hao3 chi1.",
        "qing3 ba3 na4 ben3 shu1 fang4 zai4 zhuo1 zi5 shang4.",
        "ta1 bu4 xi3 huan1 he1 niu2 nai3 ping2 shi2 he1 cha2.",
        "jin1 tian1 de5 tian1 qi4 bi3 zuo2 tian1 nuan3 he2 yi1 dian3.",
        "xue2 xiao4 pang2 bian1 you3 yi1 ge4 mei3 li4 de5 gong1 yuan2.",
        "wo3 de5 ba4 ba5 mai3 le5 wu3 jin1 pu2 tao2.",
        "lü3 xing2 yi3 qian2 yao4 zhun3 bei4 hao3 hu4 zhao4.",
    ),
    "es": (
        "Mi abuelo vive en un pueblo pequeño cerca de la playa.",
        "Pablo compró pan, manzanas y un poco de mantequilla.",
        "Vamos a buscar una buena película para el sábado.",
        "El barco blanco sube por el río muy despacio.",
        "¿Puedes abrir la puerta para mi amiga, por favor?",
        "La fábrica empezó a fabricar muebles hace poco tiempo.",
        "Mañana por la mañana quiero jugar un poco al fútbol.",
        "Me gusta mucho beber un vaso de agua fresca.",
    ),
    "es-419": (
        "Siempre hablamos de política cuando comemos juntos.",
        "El pájaro verde bebe agua en la fuente del parque.",
        "Nunca había visto una luna tan bonita como aquella.",
        "Tu primo me pidió prestado un libro de poemas.",
    ),
    "fr": (
        "Mon petit frère mange une pomme au bord du fleuve.",
        "Bonjour madame, je voudrais un peu de beurre et du pain.",
        "Nous avons vu un beau bateau bleu près du port.",
        "Le vieux monsieur promène son chien chaque matin.",
        "Il pleut beaucoup depuis le début du mois de novembre.",
        "Une jeune femme peignait un portrait dans la rue.",
        "Combien de minutes faut-il pour venir jusqu'au bureau?",
        "Le feu brûle doucement sous un ciel plein d'étoiles.",
    ),
    "it": (
        "Mio nonno beve sempre un bicchiere di vino rosso.",
        "Possiamo prendere il primo autobus per il museo?",
        "La bambina ha comprato una bambola molto bella.",
        "Domani pomeriggio vorrei fare una passeggiata al fiume.",
        "Il pane caldo profuma di burro e di rosmarino.",
        "Vieni subito a vedere che bel tempo abbiamo oggi!",
        "Il pubblico applaudiva perché la musica era bellissima.",
        "Gli amici giocano spesso a pallone vicino alla scuola.",
    ),
    "pt-br": (
        "Minha mãe fez um bolo de banana muito bom.",
        "Você pode me ajudar a procurar o meu sapato?",
        "O barco passou bem perto da pequena ponte.",
        "Amanhã vamos subir a montanha com os nossos primos.",
        "O povo daqui gosta de música e de festa.",
        "Por favor, abra a porta e feche a janela.",
    ),
    "pt": (
        "O meu irmão não bebe café depois do jantar.",
        "Bom dia, queria comprar um bilhete para o comboio.",
        "Chove muito em Lisboa no mês de novembro.",
        "A menina pôs a boneca em cima da mesa.",
    ),
    "ru": (
        "Моя бабушка печёт вкусные пироги по субботам.",
        "Мы были в большом парке возле белого моста.",
        "Пожалуйста, помогите мне найти мой билет.",
        "Утром мальчик пьёт молоко и читает книгу.",
        "Быстрая рыба уплыла под широкий мост.",
        "В феврале было много снега и мало солнца.",
    ),
    "pl": (
        "Babcia upiekła pyszny placek ze śliwkami.",
        "Proszę podać mi biały obrus i pięć łyżek.",
        "W maju popłyniemy małym statkiem po jeziorze.",
        "Mój brat lubi czytać książki przy otwartym oknie.",
        "Przed domem rośnie bardzo wysoka brzoza.",
        "Wczoraj padał deszcz, ale dzisiaj jest pogodnie.",
    ),
    "tr": (
        "Babam bu sabah pazardan beş büyük balık aldı.",
        "Küçük köpek bütün gün bahçede oynadı.",
        "Yarın öğleden sonra müzeye gitmek istiyorum.",
        "Lütfen bana bir bardak soğuk su verir misin?",
        "Mavi gömleğimi bulamıyorum, belki yıkanıyordur.",
        "Öğretmen çocuklara güzel bir masal anlattı.",
    ),
    "ja": (
        "わたし は まいあさ パン と ミルク を たべます。",
        "ふゆ の やま は ほんとう に うつくしい です。",
        "ともだち と ふね で しま へ いきました。",
        "この ぼうし は ちいさい ので もう かぶれません。",
        "ゆうびんきょく の まえ で まって いて ください。",
        "ぶどう と もも を みっつ ずつ ください。",
    ),
    "hi": (
        "मेरा भाई रोज़ सुबह बाज़ार से फल लाता है।",
        "कृपया मुझे एक कप गरम चाय दीजिए।",
        "बच्चे मैदान में गेंद से खेल रहे हैं।",
        "हमारे गाँव के पास एक बहुत बड़ा पुल है।",
        "आज बारिश हुई और मौसम बहुत अच्छा हो गया।",
        "मुझे पुरानी किताबें पढ़ना पसंद है।",
    ),
    "ar": (
        "مَرْحَبًا بِكُمْ فِي مَدِينَتِنَا الْجَمِيلَة.",
        "ذَهَبَ أَبِي إِلَى السُّوقِ لِيَشْتَرِيَ خُبْزًا.",
        "أُحِبُّ أَنْ أَشْرَبَ كُوبًا مِنَ الشَّاي.",
        "يَلْعَبُ الْأَوْلَادُ بِالْكُرَةِ أَمَامَ الْبَيْت.",
        "كَانَ الْبَحْرُ أَزْرَقَ وَالْهَوَاءُ لَطِيفًا.",
        "مَتَى يَفْتَحُ الْمَتْحَفُ أَبْوَابَهُ؟",
    ),
    "sv": (
        "Min bror bor i ett blått hus nära havet.",
        "Vi brukar dricka kaffe och äta bullar på söndagar.",
        "Kan du hjälpa mig att öppna fönstret?",
        "På våren blommar äppelträden i byn.",
    ),
    "nl": (
        "Mijn broer koopt bloemen voor onze buurvrouw.",
        "Morgen gaan we met de boot naar het museum.",
        "Wil je een boterham met boter en ham?",
        "De zon schijnt mooi boven de brug.",
    ),
}

# languages whose spelling says how a made-up word sounds, and what such words are made of
MADE_UP = ("es", "it", "de", "tr", "pl", "pt-br", "nl", "fr", "en-us")
_ONSETS = "p b m f v w t d n s z l r k g sh ch pl br fr bl pr h j".split()  # noqa: SIM905
_VOWELS = "a e i o u a o u i ai ou".split()  # noqa: SIM905
_CODAS = ("", "", "", "", "m", "p", "n", "f", "b", "s", "l")


def made_up(rng: np.random.Generator, words: int = 6) -> str:
    """A sentence of invented words, rich in lip consonants beside every vowel."""
    text = []
    for _ in range(words):
        syllables = rng.integers(1, 4)
        text.append(
            "".join(str(rng.choice(_ONSETS)) + str(rng.choice(_VOWELS)) for _ in range(syllables)) + str(rng.choice(_CODAS))
        )
    return " ".join(text) + "."


def texts(language: str, rng: np.random.Generator, count: int, invented: float = 0.35) -> list[str]:
    """`count` utterances of a language: one or two sentences in random order, or made-up words where spelling allows."""
    own = SENTENCES[language]
    out = []
    for _ in range(count):
        if language in MADE_UP and rng.random() < invented:
            out.append(made_up(rng))
        else:
            out.append(" ".join(rng.permutation(own)[: rng.integers(1, 3)]))
    return out
