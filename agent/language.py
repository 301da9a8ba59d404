"""What turn taking knows of a language: plain data, one grammar for each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grammar:
    """The words that tell whether a phrase is finished. All lower case, Cyrillic е for ё."""

    open_words: frozenset[str]
    """A phrase that ends with one of these goes on."""
    open_phrases: frozenset[tuple[str, ...]]
    """Beginnings that promise more: "I would like to know"."""
    closing_phrases: frozenset[tuple[str, ...]]
    """Endings after which nothing is owed: "please"."""
    short_answers: frozenset[tuple[str, ...]]
    """Whole turns of a word or two."""
    questions: frozenset[str]
    """Words that make a phrase a question, when something follows them."""
    auxiliaries: frozenset[str]
    """Verbs that make a question before a subject ("can you"), and may end one that stands
    inside a statement ("what your opening hours are")."""
    subjects: frozenset[str]
    digits: frozenset[str]
    number_words: frozenset[str]
    """Words after which digits are a spelled number."""
    complete_number: int
    """Digits after which a spelled number is complete: a national telephone number."""
    shortest_question: int
    """Words that a finished question has at least."""


def _phrases(lines: str) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(line.split()) for line in lines.strip().splitlines())


ENGLISH = Grammar(
    open_words=frozenset(
        """a an the and or but so because if when while that which whose than as of to in on at by
        for with from about into my your his her our their its this these i we they he she um uh
        er erm like is are was were am be can could would will should do does did have has want
        need between until since very""".split()
    ),
    open_phrases=_phrases(
        """
        i would like to know
        would like to know
        like to know
        want to know
        i would like
        i'd like
        i want
        i need
        can you tell me
        could you tell me
        please tell me
        tell me
        i am calling
        i'm calling
        i wanted to ask
        i wanted
        to ask
        do you know
        let me see
        well
        my number
        the number
        my name
        actually
        """
    ),
    closing_phrases=_phrases(
        """
        please
        thank you
        thanks
        goodbye
        bye
        that's all
        that is all
        right now
        today
        tomorrow
        a human
        a person
        """
    ),
    short_answers=_phrases(
        """
        yes
        no
        yeah
        yep
        nope
        okay
        ok
        sure
        hello
        hi
        stop
        wait
        help
        right
        correct
        nothing
        no thanks
        no thank you
        yes please
        wait a moment
        what
        when
        why
        pardon
        good morning
        good afternoon
        """
    ),
    questions=frozenset("what when where who why how which".split()),
    auxiliaries=frozenset("is are was were do does did can could will would should".split()),
    subjects=frozenset("i your you the it they this that my we he she there".split()),
    digits=frozenset("zero oh one two three four five six seven eight nine".split()),
    number_words=frozenset("number phone telephone code digits pin extension".split()),
    complete_number=10,
    shortest_question=3,
)

RUSSIAN = Grammar(
    open_words=frozenset(
        """и а но или что чтобы если когда пока потому как где который которая которые в во на с со
        к ко по для о об про у за из от до не ни мой моя мое мои мне меня наш ваш ваша ваши это
        этот эта еще я мы вы он она они бы же ну вот эм э ээ хочу хотел хотела нужно нужен
        нужна можно могу можете подскажите скажите узнать спросить записаться значит
        так то ли очень между""".split()
    ),
    open_phrases=_phrases(
        """
        я хотел бы
        я хотела бы
        хотел бы узнать
        хотела бы узнать
        подскажите пожалуйста
        скажите пожалуйста
        будьте добры
        дело в том
        я звоню
        мой номер
        номер телефона
        меня зовут
        """
    ),
    closing_phrases=_phrases(
        """
        спасибо
        до свидания
        всего доброго
        пожалуйста
        работаете
        находитесь
        принимаете
        открываетесь
        закрываетесь
        стоит
        сегодня
        завтра
        сейчас
        """
    ),
    short_answers=_phrases(
        """
        да
        нет
        ага
        хорошо
        ладно
        алло
        ало
        здравствуйте
        добрый день
        добрый вечер
        доброе утро
        стоп
        подождите
        конечно
        верно
        правильно
        ничего
        да конечно
        нет спасибо
        не надо
        """
    ),
    questions=frozenset(
        """какой какая какие какое каков когда где куда как сколько кто что почему зачем чем есть
        можно""".split()
    ),
    auxiliaries=frozenset(),
    subjects=frozenset(),
    digits=frozenset("ноль нуль один два три четыре пять шесть семь восемь девять".split()),
    number_words=frozenset("номер телефон телефона код цифры".split()),
    complete_number=10,
    shortest_question=3,
)

GRAMMARS = {"en": ENGLISH, "ru": RUSSIAN}

OVERLAP_NOISES = frozenset(
    """uh-huh uh huh mm-hmm mm hmm mhm hm um uh ah oh aha угу ага мм м гм хм эм""".split()
)
"""Sounds of listening, in any language: while the agent speaks they never take the turn."""
